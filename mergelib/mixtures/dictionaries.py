"""The K task matrices of a layer, dense or sparse, read in tiles of a few rows.

A merged weight is used once and thrown away, so a layer never forms more of it than the cache
holds. That asks of a dictionary one thing only: rows i … j of all K matrices as a dense tile.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

CPU_BYTES, GPU_BYTES = 3 << 20, 1 << 28
ROWS = 16  # tiles are multiples of this high: narrower products run far below a core's speed
USUAL_ROWS = 64  # at least, where no size is asked for: from there on they run at its full speed


class DenseDictionary(torch.nn.Module):
    """D_1 … D_K as one tensor (K, o, i); the tensor itself, not a copy, a view if need be.

    `budget` is the size of a tile in bytes. A layer's memory beside its result is a small
    multiple of it.
    """

    def __init__(self, deltas: Tensor, budget: int | None = None) -> None:
        super().__init__()
        if deltas.dim() != 3:
            raise ValueError(f"a dictionary has shape (K, o, i), not {tuple(deltas.shape)}")
        self.register_buffer("deltas", deltas.detach())
        self.shape = tuple(deltas.shape)
        self.height = tile_height(self.shape, deltas, budget)

    @property
    def stored(self) -> int:
        """How many numbers are kept."""
        return self.deltas.numel()

    def tile(self, start: int) -> Tensor:
        """Rows start … start + height − 1 of every matrix, (K, r, i); not to be written to."""
        return self.deltas[:, start : start + self.height]

    def dense(self) -> Tensor:
        """All of it, (K, o, i)."""
        return self.deltas


class SparseDictionary(torch.nn.Module):
    """D_1 … D_K of which only what is not zero is in memory: a value and a place (int32) each.

    A tile is written out when it is used, once for all samples of a batch: as many scattered
    writes as it has numbers, against B·K·r·i multiply-adds of the mixing that follows.
    """

    def __init__(self, deltas: Tensor, budget: int | None = None) -> None:
        super().__init__()
        if deltas.dim() != 3:
            raise ValueError(f"a dictionary has shape (K, o, i), not {tuple(deltas.shape)}")
        self.shape = tuple(deltas.shape)
        self.height = tile_height(self.shape, deltas, budget)
        places, values = [], []
        for start in range(0, self.shape[1], self.height):
            tile = deltas[:, start : start + self.height].reshape(-1)
            place = tile.nonzero().squeeze(1)
            places.append(place.int())
            values.append(tile[place])
        self._sizes = [len(place) for place in places]
        self.register_buffer("places", torch.cat(places))
        self.register_buffer("values", torch.cat(values))

    @property
    def stored(self) -> int:
        """How many numbers are kept; each takes a place beside its value."""
        return self.values.numel()

    def tile(self, start: int) -> Tensor:
        """Rows start … start + height − 1 of every matrix, (K, r, i)."""
        number = start // self.height
        first = sum(self._sizes[:number])
        part = slice(first, first + self._sizes[number])
        tasks, rows, width = self.shape
        shape = (tasks, min(self.height, rows - start), width)
        tile = self.values.new_zeros(shape)
        tile.view(-1)[self.places[part].long()] = self.values[part]
        return tile

    def dense(self) -> Tensor:
        """All of it with its zeros, (K, o, i)."""
        starts = range(0, self.shape[1], self.height)
        return torch.cat([self.tile(start) for start in starts], 1)


def tile_height(shape: Sequence[int], like: Tensor, budget: int | None) -> int:
    """Rows of a tile (K, r, i) of at most `budget` bytes, a multiple of ROWS and at least that.

    The default is what stays in a CPU's cache beside the merged tiles made of it, or USUAL_ROWS
    rows if those are more; on a GPU, where starting a kernel costs more than going to memory,
    tiles are large.
    """
    tasks, _, width = shape
    row = max(1, tasks * width * like.element_size())
    if budget is None:
        usual = CPU_BYTES if like.device.type in ("cpu", "meta") else GPU_BYTES
        budget = max(usual, USUAL_ROWS * row)
    if budget < 1:
        raise ValueError(f"the budget of a tile must be at least a byte, not {budget}")
    rows = budget // row
    return max(ROWS, rows // ROWS * ROWS)
