"""How the loss of each task changes, to first order, along the vectors of all tasks."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mergelib.analysis.losses import Outcome, gradient, images_of
from mergelib.task_vectors import TaskVectors
from mergelib.workbench import Workbench


@dataclass(frozen=True)
class Slope:
    """Task i at its own point θ0 + λ τ_i: the outcome there, along[j] = ⟨∇L_i, τ_j⟩ (K,) float64,
    kappa = −⟨∇L_i, τ_i⟩ / ‖τ_i‖² (the κ for which ∇L_i ≈ −κ τ_i fits best) and
    alignment = cos(−∇L_i, τ_i). Both are 0 where a vector has no direction."""

    alone: Outcome
    along: Tensor
    kappa: float
    alignment: float


@dataclass(frozen=True)
class Slopes:
    """The slopes of several tasks, with the λ, vectors and images they were measured with.

    `gram` are the inner products of all vectors, (K, K) float64.
    """

    vectors: TaskVectors
    scale: float
    split: str
    limit: int | None
    gram: Tensor
    tasks: Mapping[str, Slope]


def slopes(
    bench: Workbench,
    vectors: TaskVectors | None = None,
    scale: float = 0.3,
    split: str = "val",
    limit: int | None = 64,
    tasks: Iterable[str] | None = None,
) -> Slopes:
    """⟨∇L_i(θ0 + λ τ_i), τ_j⟩ for each task i of `tasks` (default: all of the vectors) and every j.

    One gradient a task, on the first `limit` images of its split (all if None). Whatever the
    functions of `mergelib.analysis.consistency` predict follows from these numbers: measured once,
    they can be handed to each of them. `vectors` are the workbench's own by default. Raises
    ValueError for vectors of another model, a scale that is not finite, a limit below 1 or an
    unknown split, and KeyError for a task that the vectors or the suite do not have.
    """
    vectors = bench.tv if vectors is None else vectors
    if not vectors.layout.matches(bench.tv.layout):
        raise ValueError(
            f"the vectors belong to {vectors.layout.source}, whose tensors differ from those of "
            f"the workbench's base {bench.tv.layout.source}"
        )
    if not math.isfinite(scale):
        raise ValueError(f"scale must be finite, not {scale}")
    names = vectors.tasks if tasks is None else tuple(tasks)
    own = {name: vectors[name].deltas[0] for name in names}
    data = {name: images_of(bench, name, split, limit) for name in names}
    gram, found = vectors.gram().cpu(), {}
    for name in names:
        alone, slope = gradient(bench, vectors.base + scale * own[name], name, data[name])
        slope = slope.double()
        along = torch.stack([slope @ tau.double() for tau in vectors.deltas]).cpu()
        i = vectors.tasks.index(name)
        square, toward = float(gram[i, i]), -float(along[i])
        length = float(slope.norm()) * square**0.5
        found[name] = Slope(
            alone,
            along,
            kappa=toward / square if square else 0.0,
            alignment=toward / length if length else 0.0,
        )
    return Slopes(vectors, float(scale), split, limit, gram, found)
