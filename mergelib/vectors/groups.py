"""Groups of coordinates of the flat vector, and passes over them in pieces that fit the cache."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from mergelib.vectors import passes
from mergelib.vectors.layout import Layout
from mergelib.vectors.segments import GRANULARITIES, Segment

WITH_ROWS = (*GRANULARITIES, "row")


class Tile(NamedTuple):
    """`columns` of the flat vector that hold `rows` groups of the same size, one after the other;
    `first` is the number of the first. With rows = 1 they may be a part of that group only."""

    first: int
    rows: int
    columns: slice

    @property
    def size(self) -> int:
        return self.columns.stop - self.columns.start

    def of(self, vectors: Tensor) -> Tensor:
        """The tile's part of vectors (…, P) as a view (…, rows, n)."""
        return vectors[..., self.columns].unflatten(-1, (self.rows, -1))


@dataclass(frozen=True)
class Groups:
    """n groups of coordinates, each with a name, and the tiles that they consist of.

    Groups of one size that follow each other are one tile, so that thousands of short groups
    (the rows of a matrix) are computed as one batch.
    """

    names: tuple[str, ...]
    tiles: tuple[Tile, ...]

    @classmethod
    def of_layout(cls, layout: Layout, by: str) -> "Groups":
        """The groups of `layout.segments(by)`, or by="row": "name[i]" for each i of the first
        dimension of a tensor of two dimensions or more, "name" for any other tensor.

        Raises ValueError for any other word.
        """
        if by not in WITH_ROWS:
            raise ValueError(f"granularity must be one of {', '.join(WITH_ROWS)}, not {by!r}")
        if by != "row":
            return cls.of_segments(layout.segments(by))
        names, tiles = [], []
        places = zip(layout.names, layout.shapes, layout.offsets, strict=False)
        for name, shape, start in places:
            size = prod(shape)
            if size:
                rows = shape[0] if len(shape) > 1 else 1
                tiles.append(Tile(len(names), rows, slice(start, start + size)))
                names += [f"{name}[{i}]" for i in range(rows)] if len(shape) > 1 else [name]
        return cls(tuple(names), tuple(tiles))

    @classmethod
    def of_segments(cls, segments: Sequence[Segment]) -> "Groups":
        """One group per segment."""
        tiles = [Tile(i, 1, place) for i, s in enumerate(segments) for place in s.slices]
        return cls(tuple(s.name for s in segments), tuple(tiles))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> Tensor:
        """The number of coordinates of each group, (n,) int64."""
        counts = [torch.full((t.rows,), t.size // t.rows) for t in self.tiles]
        return self.total(self.tiles, counts)

    def pieces(self, device: torch.device, cpu_width: int = passes.CPU_WIDTH) -> list[Tile]:
        """The tiles cut to pieces as wide as the device likes: `cpu_width` columns on the CPU."""
        width = passes.width(device, cpu_width)
        return [piece for tile in self.tiles for piece in _cut(tile, width)]

    def total(self, pieces: Sequence[Tile], parts: Iterable[Tensor]) -> Tensor:
        """Σ over the pieces of a group of what was computed for it: parts (rows, …) → (n, …).

        Floating numbers are added in float64. On the CPU, in the order of the pieces: a graphics
        card adds in an order that differs from time to time.
        """
        joined = torch.cat(list(parts)).cpu()
        joined = joined.double() if joined.is_floating_point() else joined
        index = torch.cat([torch.arange(t.first, t.first + t.rows) for t in pieces])
        return joined.new_zeros(len(self), *joined.shape[1:]).index_add_(0, index, joined)


def _cut(tile: Tile, width: int) -> Iterator[Tile]:
    """Tiles of at most `width` columns: of as many whole groups, or of a part of one."""
    row = tile.size // tile.rows
    at_once = max(1, width // max(row, 1))
    for i in range(0, tile.rows, at_once):
        rows = min(at_once, tile.rows - i)
        start = tile.columns.start + i * row
        stop = start + rows * row
        for left in range(start, stop, width):
            yield Tile(tile.first + i, rows, slice(left, min(left + width, stop)))
