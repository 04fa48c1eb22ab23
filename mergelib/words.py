"""Did you mean …? The one sentence for a name that nothing has."""

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[object]) -> str:
    """ "; did you mean 'x'?" with the known name that is nearest, or nothing if none is near."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(kind: str, name: object, known: Iterable[object], where: str) -> str:
    """The sentence for a misspelt name: what, where, the nearest known one, all known ones."""
    names = [str(k) for k in known]
    return f"unknown {kind} {name!r} in {where}{nearest(name, names)} (known: {', '.join(names)})"
