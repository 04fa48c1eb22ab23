"""Exact selection by magnitude in vectors too long to sort."""

from collections.abc import Callable

import torch
from torch import Tensor

from mergelib import passes

_LOW_BITS = 15
_LOW_MASK = (1 << _LOW_BITS) - 1
_BUCKETS = 1 << 16
_WIDTH = 1 << 20  # a piece is long beside its histogram


def smallest_kept_magnitude(vector: Tensor, count: int) -> float:
    """The `count`-th largest |x_p| of a (P,) float32 vector, exactly; count is 1 … P.

    Radix selection: without their sign bit, float32 numbers are ordered as their bits are, so
    a histogram of the upper 16 bits finds the bucket that the wanted number lies in, and one of
    the lower 15 bits within that bucket finds the number: two passes, no copy of the vector.
    Raises ValueError if `count` is out of range.
    """
    if not 1 <= count <= vector.numel():
        raise ValueError(f"count must be between 1 and {vector.numel()}, not {count}")
    bits = vector.detach().float().contiguous().view(torch.int32)

    def upper(piece: slice) -> Tensor:
        return (bits[piece] & 0x7FFFFFFF) >> _LOW_BITS

    bucket, count = _from_above(_histogram(upper, bits), count)

    def lower(piece: slice) -> Tensor:
        return bits[piece][upper(piece) == bucket] & _LOW_MASK

    low, _ = _from_above(_histogram(lower, bits), count)
    return torch.tensor(bucket << _LOW_BITS | low, dtype=torch.int32).view(torch.float32).item()


def _histogram(digits: Callable[[slice], Tensor], bits: Tensor) -> Tensor:
    """How often each of 0 … 65,535 occurs among the digits of all pieces."""
    pieces = passes.columns(bits.numel(), bits.device, cpu_width=_WIDTH)
    counts = passes.run(
        lambda piece: torch.bincount(digits(piece), minlength=_BUCKETS), pieces, bits.device
    )
    return torch.stack(counts).sum(0)


def _from_above(histogram: Tensor, count: int) -> tuple[int, int]:
    """The bucket of the count-th number from above, and its place from above in that bucket."""
    reached = histogram.flip(0).cumsum(0)
    from_above = int((reached < count).sum())
    bucket = histogram.numel() - 1 - from_above
    return bucket, count - int(reached[from_above] - histogram[bucket])
