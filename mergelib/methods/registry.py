"""The registry of methods: every method of the study once, with what it is and what it needs.

To add a method, write its file, put `@method(...)` on its function and add the file to `FILES`
below. The comparison and the tables of the book are made from `entries`.
"""

import importlib
from collections.abc import Iterator, Mapping

from mergelib.methods import entry
from mergelib.methods.entry import Method
from mergelib.words import nearest

FILES = (
    "mergelib.merging.average",
    "mergelib.merging.task_arithmetic",
    "mergelib.merging.ties",
    "mergelib.merging.dare",
    "mergelib.merging.awd.solve",
    "mergelib.merging.consistent",
    "mergelib.adaptation.adamerging",
    "mergelib.adaptation.concrete",
    "mergelib.mixtures.wemoe",
    "mergelib.mixtures.twin.method",
)


class UnknownMethod(KeyError):
    """A method name that the registry does not have; the message lists those it has."""

    def __str__(self) -> str:
        return self.args[0]


class _Registry(Mapping[str, Method]):
    """name → Method, in the order of FILES; the files are imported when first asked for."""

    def __getitem__(self, name: str) -> Method:
        known = self._all()
        if name in known:
            return known[name]
        raise UnknownMethod(f"no method {name!r} among {', '.join(known)}{nearest(name, known)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Method]:
        for file in FILES:
            importlib.import_module(file)
        order = {file: place for place, file in enumerate(FILES)}
        known = entry.registered.values()
        ranked = sorted(known, key=lambda m: order.get(m.function.__module__, len(order)))
        return {m.name: m for m in ranked}


entries = _Registry()
