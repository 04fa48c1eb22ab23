"""Which tensors of a checkpoint are merged, by shell patterns on their names."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from mergelib.words import nearest


@dataclass(frozen=True)
class Selection:
    """The tensors whose names match a pattern of `only` (all, if it is empty) and none of `ignore`.

    Patterns are those of a shell, matched against the whole name, upper and lower case told apart:
    "classifier.*" is everything whose name begins with "classifier.".
    """

    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    @classmethod
    def of(cls, only: str | Sequence[str], ignore: str | Sequence[str]) -> "Selection":
        """From sequences of patterns; a string is one pattern."""
        return cls(*((p,) if isinstance(p, str) else tuple(p) for p in (only, ignore)))

    def __bool__(self) -> bool:
        """Whether there is any pattern."""
        return bool(self.only or self.ignore)

    def keeps(self, name: str) -> bool:
        """Whether the tensor of this name is looked at."""
        wanted = not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)
        return wanted and not any(fnmatchcase(name, pattern) for pattern in self.ignore)

    def unmatched(
        self, source: str, names: Iterable[str], elsewhere: Callable[[], Iterable[str]] = tuple
    ) -> str | None:
        """The sentence for the first pattern that matches none of the base's `names`, or None.

        A pattern of `ignore` may match one of the names that `elsewhere()` gives instead, those of
        the experts; it is called only if there is such a pattern. `source` is the base's name.
        """
        names = tuple(names)
        for pattern in self.only:
            if not _matches(pattern, names):
                return f"{pattern!r} of only matches no tensor of {source}{_near(pattern, names)}"
        idle = [pattern for pattern in self.ignore if not _matches(pattern, names)]
        more = tuple(elsewhere()) if idle else ()
        for pattern in idle:
            if not _matches(pattern, more):
                experts = " or of any expert" if more else ""
                near = _near(pattern, {**dict.fromkeys(names), **dict.fromkeys(more)})
                return f"{pattern!r} of ignore matches no tensor of {source}{experts}{near}"
        return None


ALL = Selection()


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _near(pattern: str, names: Iterable[str]) -> str:
    """The nearest name, or the nearest pattern for all names that begin alike."""
    parts = [name.split(".") for name in names]
    starts = {".".join(p[:i]) + ".*": None for p in parts for i in range(1, len(p))}
    return nearest(pattern, [*starts, *names])
