"""Exact selection by magnitude in vectors too long to sort."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mergelib.vectors import passes

_LOW_BITS = 15
_LOW_MASK = (1 << _LOW_BITS) - 1
_MAGNITUDE = 0x7FFFFFFF
_BUCKETS = 1 << 16
_WIDTH = 1 << 18  # a piece is longer than its histogram


def smallest_kept_magnitude(vector: Tensor, count: int) -> float:
    """The `count`-th largest |x_p| of a (P,) vector, exactly; count is 1 … P.

    Radix selection: without their sign bit, float32 numbers are ordered as their bits are, so
    a histogram of the upper 16 bits finds the bucket that the wanted number lies in, and one of
    the lower 15 bits within that bucket finds the number: two passes, no copy of the vector.
    Other types are sorted. Raises ValueError if `count` is out of range.
    """
    if not 1 <= count <= vector.numel():
        raise ValueError(f"count must be between 1 and {vector.numel()}, not {count}")
    if vector.dtype != torch.float32:
        return vector.abs().sort(descending=True).values[count - 1].item()
    bits = vector.detach().contiguous().view(torch.int32)
    bucket, count = _from_above(_histogram(bits), count)
    low, _ = _from_above(_histogram(bits, bucket), count)
    return torch.tensor(bucket << _LOW_BITS | low, dtype=torch.int32).view(torch.float32).item()


def _histogram(bits: Tensor, bucket: int | None = None) -> Tensor:
    """How often each value of the upper digit occurs, or of the lower one within a bucket."""
    device = bits.device

    def counts(batch: Sequence[slice]) -> Iterator[Tensor]:
        total = torch.zeros(_BUCKETS, dtype=torch.int64, device=device)
        buffer = torch.empty(batch[0].stop - batch[0].start, dtype=torch.int32, device=device)
        for piece in batch:
            upper = buffer[: piece.stop - piece.start]
            torch.bitwise_and(bits[piece], _MAGNITUDE, out=upper)
            upper.bitwise_right_shift_(_LOW_BITS)
            found = upper if bucket is None else bits[piece][upper == bucket] & _LOW_MASK
            total += torch.bincount(found, minlength=_BUCKETS)
        yield total

    pieces = passes.columns(bits.numel(), device, cpu_width=_WIDTH)
    return torch.stack(passes.run(counts, pieces, device)).sum(0)


def _from_above(histogram: Tensor, count: int) -> tuple[int, int]:
    """The bucket of the count-th number from above, and its place from above in that bucket."""
    reached = histogram.flip(0).cumsum(0)
    from_above = int((reached < count).sum())
    bucket = histogram.numel() - 1 - from_above
    return bucket, count - int(reached[from_above] - histogram[bucket])
