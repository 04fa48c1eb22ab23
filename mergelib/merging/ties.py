"""TIES: trim, elect a sign, merge what agrees with it."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mergelib.methods.entry import method
from mergelib.vectors import passes
from mergelib.vectors.magnitudes import smallest_kept_magnitude
from mergelib.vectors.task_vectors import TaskVectors

# A sum of K float32 numbers is off by less than K of these times the sum of magnitudes.
_ROUNDING = torch.finfo(torch.float32).eps


@method(title="TIES", family="static", paper="yadav2023ties")
def ties(tv: TaskVectors, density: float = 0.2, scale: float = 0.3, merge: str = "sum") -> Tensor:
    """θ = θ0 + λ τ, (P,), where τ merges at each coordinate only what agrees on a sign.

    Yadav et al. 2023, "TIES-Merging: resolving interference when merging models", section 3:

    1. Trim (ties_trim): of each task vector keep the share `density` of largest magnitude.
    2. Elect (elect_sign): γ_p = sign(Σ_k τ̂_kp).
    3. Merge: of the trimmed values at p, those with sign γ_p, summed (merge="sum", as the
       published CLIP results do) or averaged (merge="mean", as the paper's equation does).

    Raises ValueError for density outside (0, 1], a scale that is not finite or another merge.
    """
    if merge not in ("sum", "mean"):
        raise ValueError(f'merge must be "sum" or "mean", not {merge!r}')
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, not {scale}")
    below = _below_thresholds(tv, density)
    if scale == 0:
        return tv.base.clone()
    deltas = tv.deltas
    merged = torch.empty_like(tv.base)

    def merge_pieces(batch: Sequence[slice]) -> Iterator[tuple[int, Tensor, Tensor]]:
        buffers = _buffers(deltas, batch)
        for piece in batch:
            trimmed, other = (buffer[:, : piece.stop - piece.start] for buffer in buffers)
            _trim(deltas[:, piece], below, out=trimmed)
            positive, negative, sign = _sums(trimmed, other)
            if merge == "mean":
                positive /= _count(torch.clamp_min, trimmed, other)
                negative /= _count(torch.clamp_max, trimmed, other)
            torch.where(sign > 0, positive, negative, out=merged[piece])
            undecided = ((sign == 0) & (positive > 0)).nonzero().squeeze(1)
            yield int(sign.sum()), undecided + piece.start, positive[undecided]

    pieces = passes.columns(tv.layout.size, tv.device)
    votes, undecided, positive = zip(*passes.run(merge_pieces, pieces, tv.device), strict=True)
    # The undecided hold their negative side so far: right if the whole model leans that way.
    if sum(votes) >= 0:
        places = torch.cat(undecided)
        merged[places] = torch.cat(positive) if sum(votes) > 0 else 0.0
    return merged.mul_(scale).add_(tv.base)


def ties_trim(tv: TaskVectors, density: float = 0.2) -> TaskVectors:
    """τ̂_k: of each τ_k the `density`·P entries of largest magnitude, all others zero.

    The threshold is taken over the whole vector of a task (not per tensor), and is the
    magnitude of its ⌊density·P⌋-th largest entry, at least of its largest; what equals it is
    kept too, so ties keep more. density = 1 keeps everything. (The authors' code keeps one entry
    more than ⌊density·P⌋.) Raises ValueError for density outside (0, 1].
    """
    return tv.with_deltas(_trim(tv.deltas, _below_thresholds(tv, density)))


def ties_split(tv: TaskVectors, density: float = 0.2) -> TaskVectors:
    """τ'_k: of each trimmed τ̂_k (ties_trim) the entries that have the elected sign, others zero.

    The vectors that TIES with merge="sum" adds up, kept apart; AdaMerging++ (Yang et al. 2024,
    section 3.2) learns a coefficient for each. Raises ValueError for density outside (0, 1].
    """
    trimmed = ties_trim(tv, density)
    signs, kept = elect_sign(trimmed), trimmed.deltas  # no one else has these

    def keep_elected(batch: Sequence[slice]) -> Iterator[None]:
        for piece in batch:
            part = kept[:, piece]
            part.masked_fill_(part * signs[piece] <= 0, 0)
            yield

    passes.run(keep_elected, passes.columns(tv.layout.size, tv.device), tv.device)
    return tv.with_deltas(kept)


def elect_sign(tv: TaskVectors) -> Tensor:
    """γ_p = sign(Σ_k τ_kp), (P,) of −1, 0 and +1 in the base's dtype.

    Where the sum is exactly 0 (also where all entries are), γ_p is the sign of Σ_p γ_p, the
    side on which most coordinates are; it is 0 only if that is undecided as well.
    """
    deltas = tv.deltas
    signs = torch.empty_like(tv.base)

    def elect(batch: Sequence[slice]) -> Iterator[int]:
        _, buffer = _buffers(deltas, batch)
        for piece in batch:
            other = buffer[:, : piece.stop - piece.start]
            signs[piece] = _sums(deltas[:, piece], other)[2]
            yield int(signs[piece].sum())

    votes = sum(passes.run(elect, passes.columns(tv.layout.size, tv.device), tv.device))
    signs[signs == 0] = (votes > 0) - (votes < 0)
    return signs


def _below_thresholds(tv: TaskVectors, density: float) -> list[float]:
    """For each task the number just below its smallest kept magnitude: what exceeds it is kept."""
    if not 0 < density <= 1:
        raise ValueError(f"density must be above 0 and at most 1, not {density}")
    # Rounding first: 0.29 · 100 is 28.999999999999996.
    count = max(1, int(round(density * tv.layout.size, 6)))
    if count == tv.layout.size:
        return [0.0] * len(tv)
    kept = torch.tensor([smallest_kept_magnitude(d, count) for d in tv.deltas], dtype=tv.base.dtype)
    return torch.nextafter(kept, torch.zeros_like(kept)).tolist()


def _trim(deltas: Tensor, below: list[float], out: Tensor | None = None) -> Tensor:
    """What exceeds its task's number in magnitude, of some columns (K, n); zero elsewhere."""
    out = torch.empty_like(deltas) if out is None else out
    for delta, bound, row in zip(deltas, below, out, strict=True):
        torch.hardshrink(delta, bound, out=row)
    return out


def _buffers(deltas: Tensor, batch: Sequence[slice]) -> Tensor:
    """Room for two times (K, n) numbers, for the widest piece."""
    return deltas.new_empty(2, len(deltas), max(piece.stop - piece.start for piece in batch))


def _sums(deltas: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of columns (K, n): the sum of positive entries, of negative ones, the sign of both, (n,).

    Where the rounding of float32 could decide the sign, the sum is taken again in float64, so
    that the order of the tasks does not matter. `other` is room for (K, n) numbers.
    """
    positive = torch.clamp_min(deltas, 0, out=other).sum(0)
    negative = torch.clamp_max(deltas, 0, out=other).sum(0)
    total = positive + negative
    sign = total.sign()
    doubtful = total.abs() < len(deltas) * _ROUNDING * (positive - negative)
    places = doubtful.nonzero().squeeze(1)
    if places.numel():
        sign[places] = deltas[:, places].double().sum(0).sign().to(sign.dtype)
    return positive, negative, sign


def _count(clamp: Callable, deltas: Tensor, other: Tensor) -> Tensor:
    """Of columns (K, n): how many entries are above 0 (clamp_min) or below (clamp_max), or 1."""
    return clamp(deltas, 0, out=other).sign_().sum(0).abs_().clamp_min_(1)
