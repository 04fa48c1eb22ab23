"""The groups of tensors that a granularity divides the flat vector into."""

import re
from collections.abc import Sequence
from typing import NamedTuple

GRANULARITIES = ("model", "block", "tensor")

_BLOCK = re.compile(r"(?:^|.*?\.)(?:resblocks|layers?|blocks?|h|stages?|layer\d+)\.(\d+)(?=\.)")
_EMBEDDING = re.compile(r"embed|patch|conv1|bn1|stem|ln_pre|pre_layrnorm|norm_pre|_token|pos_")


class Segment(NamedTuple):
    """A named group of coordinates: the slices of the flat vector that it consists of."""

    name: str
    slices: tuple[slice, ...]


def segments(names: Sequence[str], places: Sequence[slice], by: str) -> list[Segment]:
    """The groups of a vector in which tensor `names[i]` lies at `places[i]`, one after the other.

    by="model": one group. by="tensor": one per tensor, in the vector's order. by="block": one per
    residual block, see Layout.segments. Raises ValueError for any other word.
    """
    if by not in GRANULARITIES:
        raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, not {by!r}")
    if by == "model":
        return [Segment("model", (slice(0, places[-1].stop),))]
    if by == "tensor":
        return [Segment(n, (p,)) for n, p in zip(names, places, strict=True)]
    groups: dict[tuple, list[slice]] = {}
    for name, place in zip(names, places, strict=True):
        slices = groups.setdefault(_block(name), [])
        if slices and slices[-1].stop == place.start:
            slices[-1] = slice(slices[-1].start, place.stop)
        else:
            slices.append(place)
    return [Segment(key[-1], tuple(groups[key])) for key in sorted(groups)]


def _block(name: str) -> tuple:
    """Sorting key of a tensor's block, ending in the block's name."""
    if found := _BLOCK.match(name):
        return (1, name[: found.start(1)], int(found[1]), found[0])
    return (0, "", 0, "embeddings") if _EMBEDDING.search(name) else (2, "", 0, "head")
