"""What a suite is, declared once: its tasks, where they come from, and what is made of them.

The file of a suite (listed in mergelib/suites/registry.py) holds

    SPEC = Spec(name="pico", tasks=("digits", ...), module=__name__, base=..., recipe=...)

with `name` and `tasks` spelled out, because the graph of the study reads these two without
importing anything, and the functions

    key() → str     a key of everything that decides the inputs, labels and splits
    build() → Suite the suite itself, with the tasks that SPEC names, in that order
"""

import importlib
from dataclasses import dataclass
from types import ModuleType

from mergelib.models.base import Base
from mergelib.suites.recipe import FineTuning
from mergelib.suites.registry import FILES
from mergelib.words import unknown

HEADS = ("probe", "zero-shot")
INPUTS = {"pixels": ("image", "images"), "tokens": ("text", "texts")}


@dataclass(frozen=True)
class Spec:
    """A suite's declaration.

    `module` is the one with `key` and `build`; `heads` says how the classification heads are made
    ("probe": linear probes of the base; "zero-shot": the base's embeddings of the class names in
    their templates), `inputs` what the encoder eats ("pixels" or "tokens") and `size` the side of
    an image in pixels or the most tokens of a text. Raises ValueError for a word that it does not
    know.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    module: str
    base: Base
    recipe: FineTuning = FineTuning()
    heads: str = "probe"
    inputs: str = "pixels"
    size: int | None = None

    def __post_init__(self):
        where = f"the SPEC of suite {self.name!r}"
        if self.heads not in HEADS:
            raise ValueError(unknown("heads", self.heads, HEADS, where))
        if self.inputs not in INPUTS:
            raise ValueError(unknown("inputs", self.inputs, INPUTS, where))

    @property
    def nouns(self) -> tuple[str, str]:
        """What a reader calls one input, and several."""
        return INPUTS[self.inputs]

    @property
    def builder(self) -> ModuleType:
        """The module that has `key` and `build`."""
        return importlib.import_module(self.module)


def specs() -> dict[str, Spec]:
    """name → Spec, in the order of the registry. Raises ValueError if two have one name."""
    found = {}
    for file in FILES:
        spec = importlib.import_module(file).SPEC
        if spec.name in found:
            raise ValueError(f"two suites are called {spec.name!r}, one of them in {file}")
        found[spec.name] = spec
    return found


def spec_of(suite: str) -> Spec:
    """The declaration of the suite called `suite`; ValueError with the nearest name if none is."""
    known = specs()
    if suite not in known:
        raise ValueError(unknown("suite", suite, known, "mergelib.suites.registry"))
    return known[suite]
