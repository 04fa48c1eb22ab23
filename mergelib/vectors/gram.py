"""Inner products of task vectors, accumulated in float64."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mergelib.vectors import passes
from mergelib.vectors.groups import Groups, Tile
from mergelib.vectors.segments import Segment


def gram(deltas: Tensor, segments: Sequence[Segment]) -> Tensor:
    """G[s]_ij = Σ_{p in segment s} deltas_ip · deltas_jp, as (n, K, K) float64.

    `deltas` is (K, P). One pass over it in pieces; products and sums are float64, no float64
    copy of more than a piece exists, and the result does not depend on the number of cores.
    """
    return group_gram(deltas, Groups.of_segments(segments))


def group_gram(deltas: Tensor, groups: Groups, minus: Tensor | None = None) -> Tensor:
    """The same for groups; with `minus` (P,), of deltas_i − minus, subtracted in float64."""
    device = deltas.device

    def products(batch: Sequence[Tile]) -> Iterator[Tensor]:
        read = TileReader(deltas, batch)
        for tile in batch:
            part = read(tile)
            if minus is not None:
                part -= tile.of(minus)
            part = part.transpose(0, 1)
            yield part @ part.mT

    pieces = groups.pieces(device)
    result = groups.total(pieces, passes.run(products, pieces, device))
    return ((result + result.mT) / 2).to(device)


def group_products(deltas: Tensor, vector: Tensor, groups: Groups) -> tuple[Tensor, Tensor]:
    """⟨deltas_k, vector⟩ (n, K) and ⟨vector, vector⟩ (n,) in each group; one pass.

    float64 and, on whatever device the vectors are, on the CPU.
    """

    def products(batch: Sequence[Tile]) -> Iterator[tuple[Tensor, Tensor]]:
        read = TileReader(deltas, batch)
        for tile in batch:
            row = tile.of(vector).double()
            yield row_products(read(tile), row)

    pieces = groups.pieces(deltas.device)
    parts = passes.run(products, pieces, deltas.device)
    across, squares = zip(*parts, strict=True)
    return groups.total(pieces, across), groups.total(pieces, squares)


def row_products(part: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """Of a tile: part (K, r, n) times row (r, n), (r, K), and row times itself, (r,)."""
    across = part.transpose(0, 1) @ row.unsqueeze(-1)
    return across.squeeze(-1), row.square().sum(-1)


class TileReader:
    """Tiles of `deltas` as float64 (K, rows, n), all in one buffer: use one before the next."""

    def __init__(self, deltas: Tensor, batch: Sequence[Tile]) -> None:
        widest = max(tile.size for tile in batch)
        self._deltas = deltas
        self._buffer = deltas.new_empty(len(deltas), widest, dtype=torch.float64)

    def __call__(self, tile: Tile) -> Tensor:
        part = self._buffer[:, : tile.size].copy_(self._deltas[:, tile.columns])
        return part.unflatten(-1, (tile.rows, -1))
