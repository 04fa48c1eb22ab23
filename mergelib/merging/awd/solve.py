"""Adaptive Weight Disentanglement: subtract one vector from all task vectors, so that they become
nearly orthogonal to each other.

Xiong et al. 2024, "Multi-Task Model Merging via Adaptive Weight Disentanglement": each τ_k is the
sum of a redundant vector δ, the same for all tasks, and a disentangled one, τ̃_k = τ_k − δ. δ
minimises

    f(δ) = mean_{i≠j} |cos(τ_i − δ, τ_j − δ)| + α ‖δ‖₂ .

f depends on δ only through ⟨δ, τ_k⟩ and ‖δ‖. So of δ only its part in span{τ_1 … τ_K} and the
length of the rest matter: K + 1 numbers, in which f is known from the Gram matrix. The exact solver
is a pass over the K×P numbers for the Gram matrix, a search in K + 1 coordinates
(mergelib.merging.awd.search) and a pass to write τ − δ.
"""

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mergelib.merging.awd.gradient import descend
from mergelib.merging.awd.newton import objective
from mergelib.merging.awd.objective import cosines_of, pair_weights, value
from mergelib.merging.awd.report import Disentangled, Report
from mergelib.merging.awd.search import minimise
from mergelib.merging.awd.span import Span
from mergelib.merging.task_arithmetic import task_arithmetic
from mergelib.methods.entry import method
from mergelib.vectors import passes
from mergelib.vectors.gram import TileReader, group_gram, group_products
from mergelib.vectors.groups import Groups, Tile
from mergelib.vectors.task_vectors import TaskVectors

_MANY = 2000  # groups; for more, the search is from fewer starts


@method(title="AWD + task arithmetic", family="static", paper="xiong2024awd")
def awd_task_arithmetic(
    tv: TaskVectors,
    scale: float | Sequence[float] | Tensor = 0.3,
    alpha: float = 0.1,
    granularity: str = "model",
) -> Tensor:
    """Task arithmetic on disentangled task vectors, θ0 + Σ_k λ_k (τ_k − δ), (P,).

    Xiong et al. 2024. With one λ and granularity="model" this is task arithmetic with
    the weights λ (1 − K c_k), where δ = Σ_k c_k τ_k. To try several λ, call `awd` once and
    task_arithmetic on what it returns. Raises ValueError for what either refuses.
    """
    return task_arithmetic(awd(tv, alpha, granularity), scale)


def awd(
    tv: TaskVectors,
    alpha: float = 0.1,
    granularity: str = "model",
    solver: str = "exact",
    within_span: bool = True,
    *,
    seed: int = 0,
    optimiser: str = "gd",
    lr: float = 0.01,
    steps: int = 300,
) -> Disentangled:
    """τ̃_k = τ_k − δ with the δ that minimises f, one δ for each group of weights.

    Groups are those of `tv.layout.segments(granularity)`, or with granularity="row" the rows of
    every matrix (the first dimension of every tensor of two or more; other tensors are one group).
    In each group, a task vector that is zero takes part in no pair; where fewer than two are left,
    δ = 0. The result's `redundant` is δ (P,), its `report` the objective reached in every group.

    solver="exact" finds the minimum over the span of the task vectors. within_span=False allows
    the direction outside it too, which lowers f where cosines are negative: any direction
    orthogonal to all task vectors is as good as any other there, so a random one (`seed`) is
    taken, and it is noise to the model. The report gives both minima in either case.

    f has many local minima. The search descends from many places, and then from more around the
    best end; where there are more than two thousand groups, only from a few places. No search of
    this kind is certain to find the least minimum.

    solver="descent" is the way in which others report the method: from δ = 0, `steps` steps of
    gradient descent (optimiser="gd" or "adam") with step size `lr` on all P numbers.

    α is not free of scale: ‖δ‖ is measured in the units of the weights, in each group by itself.

    Raises ValueError for a single task, for α that is negative or not finite, for an unknown
    granularity, solver or optimiser, for within_span=False with a descent, and for task vectors
    that hold NaN or infinite numbers.
    """
    start = time.perf_counter()
    if len(tv) < 2:
        raise ValueError(f"AWD needs at least two task vectors, not only {tv.tasks[0]!r}")
    if not (alpha >= 0 and math.isfinite(alpha)):
        raise ValueError(f"alpha must be at least 0 and finite, not {alpha}")
    if solver not in ("exact", "descent"):
        raise ValueError(f'solver must be "exact" or "descent", not {solver!r}')
    if solver == "descent" and not within_span:
        raise ValueError(
            "within_span=False needs the exact solver: a descent goes where its steps lead"
        )
    groups = Groups.of_layout(tv.layout, granularity)
    gram = group_gram(tv.deltas, groups).cpu()
    if not bool(gram.isfinite().all()):
        _raise_not_finite(tv)
    span = Span.of_gram(gram, groups.sizes)
    before = _objective(span, torch.zeros_like(span.points[:, 0]), alpha)
    if solver == "exact":
        redundant, deltas, details = _exact(tv, groups, span, alpha, within_span, seed)
    else:
        descent = descend(tv, groups, gram, alpha, optimiser, lr, steps)
        inside = span.project(descent.products)
        squares = descent.squares - (inside * descent.products).sum(-1)
        redundant = descent.redundant
        deltas = _subtract(tv.deltas, redundant)
        details = {
            "objective": descent.trajectory[-1],
            "coefficients": inside,
            "outside": squares.clamp_min(0).sqrt(),
            "iterations": torch.full((len(groups),), steps),
            "trajectory": descent.trajectory,
        }
    seconds = time.perf_counter() - start
    report = Report(groups=groups.names, before=before, seconds=seconds, **details)
    return Disentangled(tv, deltas, redundant, report)


def awd_objective(
    tv: TaskVectors, redundant: Tensor, alpha: float, granularity: str = "model"
) -> float | Tensor:
    """f(δ) for δ = `redundant` (P,), in float64 from the vectors τ_k − δ themselves.

    A number for granularity="model", else (n,), one for each group. Task vectors that are zero in
    a group are left out of its mean. Raises ValueError for a δ of another shape or an unknown
    granularity.
    """
    if redundant.shape != tv.base.shape:
        raise ValueError(f"δ must be of shape {tuple(tv.base.shape)}, not {tuple(redundant.shape)}")
    groups = Groups.of_layout(tv.layout, granularity)
    cosines, _ = cosines_of(group_gram(tv.deltas, groups, minus=redundant).cpu())
    own = group_gram(tv.deltas, groups).cpu().diagonal(dim1=-2, dim2=-1)
    weights = pair_weights(own.unsqueeze(-1))
    squares = group_gram(redundant.unsqueeze(0), groups).cpu()[:, 0, 0]
    values = value(weights, cosines.abs(), alpha, squares.sqrt())
    return values.item() if granularity == "model" else values


def _exact(
    tv: TaskVectors, groups: Groups, span: Span, alpha: float, within_span: bool, seed: int
) -> tuple[Tensor, Tensor, dict]:
    """δ (P,), the τ_k − δ (K, P) and what the report says of them."""
    (inside, anywhere), steps = _minimise(span, alpha)
    in_span, unrestricted = (_objective(span, z, alpha) for z in (inside, anywhere))
    # Both searches are over many starts, but not over all.
    anywhere = torch.where((unrestricted > in_span).unsqueeze(-1), inside, anywhere)
    unrestricted = unrestricted.minimum(in_span)
    z = inside if within_span else anywhere
    coefficients, outside = span.coefficients(z), z[:, -1].abs() * span.scale
    details = {
        "objective": in_span if within_span else unrestricted,
        "coefficients": coefficients,
        "outside": outside,
        "in_span": in_span,
        "unrestricted": unrestricted,
        "iterations": steps,
    }
    if not bool(outside.any()):
        return *_take(tv.deltas, groups, coefficients), details
    noise = torch.randn(tv.layout.size, generator=torch.Generator().manual_seed(seed))
    noise = noise.to(tv.base)
    products, squares = group_products(tv.deltas, noise, groups)
    shadow = span.project(products)
    length = (squares - (shadow * products).sum(-1)).clamp_min(0).sqrt()
    share = torch.where(outside > 0, outside / length, 0.0)
    coefficients = coefficients - share.unsqueeze(-1) * shadow
    return *_take(tv.deltas, groups, coefficients, noise, share), details


def _minimise(span: Span, alpha: float) -> tuple[Tensor, Tensor]:
    """The least z of each group in the span and anywhere, (2, n, K + 1), in its own unit of length,
    and the steps that both took, (n,)."""
    present = (span.points != 0).any(-1)
    pairs = present.sum(-1) > 1
    points, free = span.points[pairs].repeat(2, 1, 1), span.free[pairs].repeat(2, 1)
    free[: len(free) // 2, -1] = False
    scaled = alpha * span.scale[pairs].repeat(2)
    found, taken = minimise(points, scaled, free, quick=len(pairs) > _MANY)
    z = points.new_zeros(2, *span.points[:, 0].shape)
    steps = torch.zeros(len(pairs), dtype=torch.long)
    z[:, pairs], steps[pairs] = found.unflatten(0, (2, -1)), taken.view(2, -1).sum(0)
    return z, steps


def _objective(span: Span, z: Tensor, alpha: float) -> Tensor:
    return objective(span.points, z, alpha * span.scale)


def _take(
    deltas: Tensor,
    groups: Groups,
    coefficients: Tensor,
    beside: Tensor | None = None,
    share: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """δ = Σ_k c_gk τ_k + share_g · beside in each group g, (P,), and the τ_k − δ, (K, P).

    δ is summed in float64 and rounded once; what is taken from the task vectors is what is
    returned, to the bit.
    """
    redundant, rest = torch.empty_like(deltas[0]), torch.empty_like(deltas)
    coefficients = coefficients.to(deltas.device).unsqueeze(1)
    share = None if share is None else share.to(deltas.device).unsqueeze(-1)

    def write(batch: Sequence[Tile]) -> Iterator[None]:
        read = TileReader(deltas, batch)
        for tile in batch:
            these, place = slice(tile.first, tile.first + tile.rows), tile.columns
            total = (coefficients[these] @ read(tile).transpose(0, 1)).squeeze(1)
            if beside is not None:
                total += share[these] * tile.of(beside)
            redundant[place] = total.flatten()
            torch.sub(deltas[:, place], redundant[place], out=rest[:, place])
            yield

    passes.run(write, groups.pieces(deltas.device), deltas.device)
    return redundant, rest


def _subtract(deltas: Tensor, redundant: Tensor) -> Tensor:
    """τ_k − δ, (K, P)."""
    result = torch.empty_like(deltas)

    def write(batch: Sequence[slice]) -> Iterator[None]:
        for piece in batch:
            torch.sub(deltas[:, piece], redundant[piece], out=result[:, piece])
            yield

    passes.run(write, passes.columns(len(redundant), deltas.device), deltas.device)
    return result


def _raise_not_finite(tv: TaskVectors) -> None:
    for task, delta in zip(tv.tasks, tv.deltas, strict=True):
        for segment in tv.layout.segments("tensor"):
            if not bool(delta[segment.slices[0]].isfinite().all()):
                raise ValueError(
                    f"task vector {task!r} holds NaN or infinite numbers in tensor {segment.name!r}"
                )
