"""TIES: trim, elect a sign, merge what agrees with it."""

import math

import torch
from torch import Tensor

from mergelib import passes
from mergelib.magnitudes import smallest_kept_magnitude
from mergelib.methods import method
from mergelib.task_vectors import TaskVectors

# A sum of K float32 numbers is off by less than K of these times the sum of magnitudes.
_ROUNDING = torch.finfo(torch.float32).eps


@method(title="TIES", family="static", paper="yadav2023ties")
def ties(
    tv: TaskVectors, density: float = 0.2, scale: float = 0.3, merge: str = "sum"
) -> Tensor:
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
    thresholds = _thresholds(tv, density)
    if scale == 0:
        return tv.base.clone()
    deltas = tv.deltas
    merged = torch.empty_like(tv.base)

    def work(piece: slice) -> tuple[int, Tensor, Tensor]:
        trimmed = _trim(deltas[:, piece], thresholds)
        positive, negative, sign = _sums(trimmed)
        if merge == "mean":
            positive /= (trimmed > 0).sum(0).clamp_min(1)
            negative /= (trimmed < 0).sum(0).clamp_min(1)
        merged[piece] = torch.where(sign > 0, positive, negative)
        undecided = ((sign == 0) & (positive > 0)).nonzero().squeeze(1)
        return int(sign.sum()), undecided + piece.start, positive[undecided]

    pieces = passes.columns(tv.layout.size, tv.device)
    votes, undecided, positive = zip(*passes.run(work, pieces, tv.device), strict=True)
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
    thresholds = _thresholds(tv, density)
    deltas = tv.deltas
    trimmed = torch.empty_like(deltas)

    def work(piece: slice) -> None:
        trimmed[:, piece] = _trim(deltas[:, piece], thresholds)

    passes.run(work, passes.columns(tv.layout.size, tv.device), tv.device)
    return tv.with_deltas(trimmed)


def elect_sign(tv: TaskVectors) -> Tensor:
    """γ_p = sign(Σ_k τ_kp), (P,) of −1, 0 and +1 in the base's dtype.

    Where the sum is exactly 0 (also where all entries are), γ_p is the sign of Σ_p γ_p, the
    side on which most coordinates are; it is 0 only if that is undecided as well.
    """
    deltas = tv.deltas
    signs = torch.empty_like(tv.base)

    def work(piece: slice) -> int:
        signs[piece] = _sums(deltas[:, piece])[2]
        return int(signs[piece].sum())

    votes = sum(passes.run(work, passes.columns(tv.layout.size, tv.device), tv.device))
    signs[signs == 0] = (votes > 0) - (votes < 0)
    return signs


def _thresholds(tv: TaskVectors, density: float) -> Tensor:
    """The smallest kept magnitude of each task, (K, 1)."""
    if not 0 < density <= 1:
        raise ValueError(f"density must be above 0 and at most 1, not {density}")
    # Rounding first: 0.29 · 100 is 28.999999999999996.
    count = max(1, int(round(density * tv.layout.size, 6)))
    if count == tv.layout.size:
        thresholds = [0.0] * len(tv)
    else:
        thresholds = [smallest_kept_magnitude(delta, count) for delta in tv.deltas]
    return torch.tensor(thresholds, dtype=tv.base.dtype, device=tv.device).unsqueeze(1)


def _trim(deltas: Tensor, thresholds: Tensor) -> Tensor:
    """What reaches the thresholds (K, 1) of some columns (K, n) of the task vectors."""
    return torch.where(deltas.abs() >= thresholds, deltas, 0.0)


def _sums(deltas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of columns (K, n): the sum of positive entries, of negative ones, the sign of both, (n,).

    Where the rounding of float32 could decide the sign, the sum is taken again in float64, so
    that the order of the tasks does not matter.
    """
    positive = deltas.clamp_min(0).sum(0)
    negative = deltas.clamp_max(0).sum(0)
    total = positive + negative
    sign = total.sign()
    doubtful = total.abs() < len(deltas) * _ROUNDING * (positive - negative)
    places = doubtful.nonzero().squeeze(1)
    if places.numel():
        sign[places] = deltas[:, places].double().sum(0).sign().to(sign.dtype)
    return positive, negative, sign
