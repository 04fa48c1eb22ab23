"""The loss of one model on one task, input by input; its gradient and its slopes along vectors.

Float32 throughout (float64 for checks). The accuracies of the book are measured in bfloat16 where
that is fast; the differences between two losses that are measured here would drown in its rounding.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from mergelib.models.inputs import Inputs
from mergelib.suites.suite import Split
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.workbench import Workbench

GRADIENT_BATCH = 64  # inputs whose activations are kept at once for the backward pass


@dataclass(frozen=True)
class Outcome:
    """What a model makes of n inputs: cross-entropies (n,) in nats, answers and labels (n,)."""

    losses: Tensor
    answers: Tensor
    labels: Tensor

    @property
    def loss(self) -> float:
        return float(self.losses.double().mean())

    @property
    def accuracy(self) -> float:
        return float((self.answers == self.labels).double().mean())

    def changed(self, other: "Outcome") -> float:
        """The fraction of inputs to which the other model gives another answer."""
        return float((self.answers != other.answers).double().mean())


def inputs_of(bench: Workbench, task: str, split: str, limit: int | None) -> Split:
    """The first `limit` inputs of a task's split, all if None. ValueError unless `limit` ≥ 1."""
    data = bench.suite[task].split(split)
    if limit is None:
        return data
    if limit < 1:
        raise ValueError(f"limit must be at least 1 input a task, not {limit}")
    return data.take(limit)


def features(bench: Workbench, vector: Tensor, inputs: Inputs) -> Tensor:
    """Features (N, d) of N inputs by the model with weights `vector` (P,), in the vector's type.

    Gradients flow to `vector`.
    """
    arguments = inputs.prepare(vector.device, vector.dtype)
    weights = bench.tv.layout.state_for(bench.encoder, vector)
    return functional_call(bench.encoder, weights, arguments)


@torch.no_grad()
def outcome(bench: Workbench, vector: Tensor, task: str, data: Split) -> Outcome:
    """Losses and answers of the model with weights `vector` (P,) on the task's inputs."""
    bench.encoder.eval()
    parts = _parts(data, data.inputs.fit(vector.device))
    return _joined(_part(bench, vector, task, part)[1] for part in parts)


def gradient(bench: Workbench, vector: Tensor, task: str, data: Split) -> tuple[Outcome, Tensor]:
    """The outcome, and ∇L (P,) of the mean cross-entropy L at `vector`, in the vector's type.

    The inputs pass in batches of GRADIENT_BATCH, whose gradients are added up.
    """
    weights = vector.detach().clone().requires_grad_()
    bench.encoder.eval()
    found = []
    with torch.enable_grad():
        for part in _parts(data, GRADIENT_BATCH):
            losses, result = _part(bench, weights, task, part)
            (losses.sum() / len(data)).backward()
            found.append(result)
    return _joined(found), weights.grad


def _part(bench: Workbench, vector: Tensor, task: str, data: Split) -> tuple[Tensor, Outcome]:
    """The losses (n,) with their graph, and the same without it."""
    f = features(bench, vector, data.inputs)
    logits = bench.heads[task].to(f.device)(f)
    losses = F.cross_entropy(logits, data.labels.to(f.device), reduction="none")
    return losses, Outcome(losses.detach().cpu(), logits.argmax(dim=1).cpu(), data.labels)


def _parts(data: Split, batch: int) -> list[Split]:
    starts = range(0, len(data), batch)
    return [Split(data.inputs[s : s + batch], data.labels[s : s + batch]) for s in starts]


def _joined(parts) -> Outcome:
    columns = zip(*((p.losses, p.answers, p.labels) for p in parts), strict=True)
    return Outcome(*(torch.cat(column) for column in columns))


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
    """The slopes of several tasks, with the λ, vectors and inputs they were measured with.

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

    One gradient a task, on the first `limit` inputs of its split (all if None). Whatever the
    functions of `mergelib.analysis.interference` predict follows from these numbers: measured once,
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
    data = {name: inputs_of(bench, name, split, limit) for name in names}
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
