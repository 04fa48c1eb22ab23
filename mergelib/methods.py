"""The registry of methods: every method of the study once, with what it is and what it needs.

To add a method, write its file, put `@method(...)` on its function and add the file to `FILES`
below. The comparison and the tables of the book are made from `entries`.
"""

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

FILES = (
    "mergelib.merging.average",
    "mergelib.merging.task_arithmetic",
    "mergelib.merging.ties",
    "mergelib.merging.dare",
    "mergelib.adaptation.adamerging",
    "mergelib.adaptation.concrete",
    "mergelib.mixtures.wemoe",
    "mergelib.mixtures.ewemoe",
    "mergelib.mixtures.twin",
)

FAMILIES = ("static", "adaptive", "mixture")
NEEDS = ("nothing", "unlabelled inputs", "labelled inputs", "task identity")


@dataclass(frozen=True)
class Method:
    """A method: its `function`, with the `defaults` of its numbers.

    A static method is function(task_vectors, **numbers) and gives weights (P,). An adaptive one is
    function(bench, task_vectors, **numbers, **options), where `bench` is a workbench or (encoder,
    heads, suite) and the options are those of `mergelib.adaptation.adapt`; it gives a record
    whose `merged` is the weights (P,). A mixture is called like an adaptive method; its record has
    a `model` in place of `merged`, which takes the encoder's place.

    `paper` is a key of the book's bibliography; `needs` is what it needs beside the weights.
    """

    name: str
    title: str
    family: str
    paper: str
    needs: str
    defaults: Mapping[str, object]
    function: Callable


class UnknownMethod(KeyError):
    """A method name that the registry does not have; the message lists those it has."""

    def __str__(self) -> str:
        return self.args[0]


_registered: dict[str, Method] = {}


def method(
    *, title: str, family: str, paper: str, needs: str = "nothing"
) -> Callable[[Callable], Callable]:
    """Register the decorated function under its own name; the function itself is unchanged.

    Raises ValueError for an unknown family or need, or a name that another function has.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    if needs not in NEEDS:
        raise ValueError(f"needs must be one of {', '.join(NEEDS)}, not {needs!r}")

    def register(function: Callable) -> Callable:
        name = function.__name__
        known = _registered.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(
                f"method {name!r} is registered by {known.function.__module__} "
                f"and by {function.__module__}"
            )
        defaults = {
            parameter.name: parameter.default
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is not parameter.empty
        }
        _registered[name] = Method(
            name, title, family, paper, needs, MappingProxyType(defaults), function
        )
        return function

    return register


class _Registry(Mapping[str, Method]):
    """name → Method, in the order of FILES; the files are imported when first asked for."""

    def __getitem__(self, name: str) -> Method:
        known = self._all()
        if name in known:
            return known[name]
        close = difflib.get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UnknownMethod(f"no method {name!r} among {', '.join(known)}{hint}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Method]:
        for file in FILES:
            importlib.import_module(file)
        order = {file: place for place, file in enumerate(FILES)}
        known = _registered.values()
        ranked = sorted(known, key=lambda m: order.get(m.function.__module__, len(order)))
        return {m.name: m for m in ranked}


entries = _Registry()
