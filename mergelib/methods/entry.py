"""What a method of the registry is, and the decorator that enters one (see registry).

Apart from the list of files, so that a method's file does not depend on all the others.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


registered: dict[str, Method] = {}


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
        known = registered.get(name)
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
        registered[name] = Method(
            name, title, family, paper, needs, MappingProxyType(defaults), function
        )
        return function

    return register
