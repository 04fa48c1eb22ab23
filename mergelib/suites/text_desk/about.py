"""What a task of the text desk says about itself."""

from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """Names, provenance and prompts of one task; label i means `classes[i]`.

    `prompts` turn a class name into a caption, with `{}` in the place of the name: plain English.
    `origin` says who wrote the texts and `packages` which pip packages carry them; `licence` is
    that of the texts.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    prompts: tuple[str, ...]
    note: str
    origin: str
    packages: tuple[str, ...]
    licence: str
