"""What a method of the registry is, and the decorator that enters one (see registry).

Apart from the list of files, so that a method's file does not depend on all the others.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mergelib.words import unknown

FAMILIES = ("static", "adaptive", "mixture")
NEEDS = (
    "nothing",
    "unlabelled inputs, sorted by task",
    "labelled inputs",
    "task identity",
)


@dataclass(frozen=True)
class Method:
    """A method: its `function`, with the `defaults` of its numbers and the paper's, `published`.

    A static method is function(task_vectors, **numbers) and gives weights (P,). An adaptive one is
    function(bench, task_vectors, **numbers), where `bench` is a mergelib.adaptation.Bench, a
    workbench or (encoder, heads, suite), and the numbers may be single fields of Learning; it gives
    a record whose `merged` is the weights (P,). A mixture is called like an adaptive method; its
    record has a `model` in place of `merged`, which takes the model's place.

    `defaults` are this library's settings by name, those of settings objects among them;
    function(…, **published) is the method as its paper ran it. `paper` is a key of the book's
    bibliography; `needs` is what a method needs beside the weights.
    """

    name: str
    title: str
    family: str
    paper: str
    needs: str
    defaults: Mapping[str, object]
    function: Callable
    published: Mapping[str, object]


registered: dict[str, Method] = {}


def method(
    *,
    title: str,
    family: str,
    paper: str,
    needs: str = "nothing",
    published: Mapping[str, object] | None = None,
) -> Callable[[Callable], Callable]:
    """Register the decorated function under its own name; the function itself is unchanged.

    Raises ValueError for an unknown family or need, a name that another function has, or a
    published setting that the function does not know.
    """
    if family not in FAMILIES:
        raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {family!r}")
    if needs not in NEEDS:
        raise ValueError(f"needs must be one of {', '.join(NEEDS)}, not {needs!r}")

    def register(function: Callable) -> Callable:
        name = function.__name__
        known = registered.get(name)
        if known is not None and known.function.__module__ != function.__module__:
            raise ValueError(
                f"method {name!r} is registered by {known.function.__module__} "
                f"and by {function.__module__}"
            )
        defaults = _defaults(function)
        for setting in published or {}:
            if setting not in defaults:
                raise ValueError(unknown("published setting", setting, defaults, name))
        frozen = (MappingProxyType(dict(numbers)) for numbers in (defaults, published or {}))
        own, papers = frozen
        registered[name] = Method(name, title, family, paper, needs, own, function, papers)
        return function

    return register


def _defaults(function: Callable) -> dict[str, object]:
    """Parameters with a default by name; a settings object stands for its fields."""
    found = {}
    for parameter in inspect.signature(function).parameters.values():
        if dataclasses.is_dataclass(parameter.default):
            found |= vars(parameter.default)
        elif parameter.default is not parameter.empty:
            found[parameter.name] = parameter.default
    return found
