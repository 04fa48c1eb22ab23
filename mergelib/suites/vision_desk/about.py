"""What a desk task says about itself."""

from dataclasses import dataclass
from typing import Literal

Origin = Literal["scanned", "photographed", "rendered", "rendered over photographs"]


@dataclass(frozen=True)
class About:
    """Names, provenance and prompt templates of one task; label i means `classes[i]`."""

    name: str
    title: str
    classes: tuple[str, ...]
    origin: Origin
    note: str
    templates: tuple[str, ...]
