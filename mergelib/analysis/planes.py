"""The plane of two task vectors around the base: the losses in it, and weight disentanglement.

Weight disentanglement asks whether the merged model answers as the single edits do
(Ortiz-Jimenez et al. 2023, "Task arithmetic in the tangent space", section 4). For two tasks

    ξ(α1, α2) = Σ_{t=1,2} E_{x ~ D_t} 1[y(x; θ0 + α_t τ_t) ≠ y(x; θ0 + α1 τ1 + α2 τ2)]

where y is the class predicted with the head of task t: 0 where the tasks leave each other alone,
2 where no answer survives. Labels are not used.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from mergelib.analysis.losses import inputs_of
from mergelib.evaluation import encode, predict
from mergelib.intervals import wilson_interval
from mergelib.merging import task_arithmetic
from mergelib.models.inputs import Inputs
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.workbench import Workbench


@dataclass(frozen=True)
class DisentanglementMap:
    """changed[t, i, j]: the fraction of task t's inputs on which the models θ0 + α_t τ_t and
    θ0 + α_i τ_1 + α_j τ_2 disagree."""

    tasks: tuple[str, str]
    alphas: np.ndarray
    changed: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """ξ at (α_i, α_j), (n, n), from 0 to 2."""
        return self.changed.sum(axis=0)


def disentanglement_map(
    bench: Workbench,
    tasks: Sequence[str],
    vectors: TaskVectors | None = None,
    start: float = -1.0,
    stop: float = 2.0,
    num: int = 7,
    split: str = "val",
    limit: int | None = 64,
) -> DisentanglementMap:
    """ξ of two tasks at `num` × `num` points with α from `start` to `stop`.

    Measured on the first `limit` inputs of each task's split. Each model is run once on each
    task's inputs: 2n² + 2n encodings, 2n fewer if 0 is among the α. Raises ValueError unless
    `tasks` are two, and KeyError for a task that the vectors (default: the workbench's) or the
    suite do not have.
    """
    if len(tasks) != 2:
        raise ValueError(f"a disentanglement map is of two tasks, not of {len(tasks)}")
    vectors = bench.tv if vectors is None else vectors
    deltas = [vectors[name].deltas[0] for name in tasks]
    inputs = [inputs_of(bench, name, split, limit).inputs for name in tasks]
    alphas = np.linspace(start, stop, num)
    changed = np.empty((2, num, num))
    for t, name in enumerate(tasks):
        own, other = deltas[t], deltas[1 - t]
        for i, alpha in enumerate(alphas):
            edited = vectors.base + float(alpha) * own
            single = answers(bench, edited, name, inputs[t])
            for j, beta in enumerate(alphas):
                both = single
                if beta != 0:
                    both = answers(bench, edited + float(beta) * other, name, inputs[t])
                cell = (i, j) if t == 0 else (j, i)
                changed[t][cell] = float((single != both).double().mean())
    return DisentanglementMap((tasks[0], tasks[1]), alphas, changed)


def disentanglement_error(
    bench: Workbench,
    vectors: TaskVectors | None = None,
    scale: float = 0.3,
    split: str = "val",
    limit: int | None = 64,
    tasks: Iterable[str] | None = None,
    single: TaskVectors | None = None,
) -> pd.DataFrame:
    """The K-task form: how often θ0 + λ τ_t and θ0 + λ Στ disagree on the inputs of task t.

    One row a task: task, n, changed (the fraction of inputs), low, high (Wilson 95 %). The sum of
    `changed` is the error of all tasks together, from 0 to K. The single edits use `single`, by
    default `vectors` themselves: with disentangled vectors merged and the experts' own as `single`,
    the merged model is compared with what the task was meant to be. Raises KeyError for a task that
    the vectors or the suite do not have, and ValueError for a scale that is not finite.
    """
    vectors = bench.tv if vectors is None else vectors
    single = vectors if single is None else single
    names = vectors.tasks if tasks is None else tuple(tasks)
    inputs = {name: inputs_of(bench, name, split, limit).inputs for name in names}
    edits = {name: single[name].deltas[0] for name in names}
    merged = task_arithmetic(vectors, scale)
    rows = []
    for name in names:
        alone = answers(bench, single.base + scale * edits[name], name, inputs[name])
        together = answers(bench, merged, name, inputs[name])
        changed, n = int((alone != together).sum()), len(alone)
        low, high = wilson_interval(changed, n)
        rows.append({"task": name, "n": n, "changed": changed / n, "low": low, "high": high})
    return pd.DataFrame(rows)


def answers(bench: Workbench, vector: Tensor, task: str, inputs: Inputs) -> Tensor:
    """The classes (N,) that the model with weights `vector` (P,) predicts with the task's head."""
    weights, precision = bench.tv.layout.state_for(bench.encoder, vector), bench.precision
    return predict(bench.encoder, bench.heads[task], inputs, weights, precision=precision)


def error_at_one(surface: DisentanglementMap) -> float:
    """ξ(1, 1), where both vectors are added in full, or at the grid point nearest to it."""
    i = int(np.abs(surface.alphas - 1).argmin())
    return float(surface.error[i, i])


@dataclass(frozen=True)
class LossPlane:
    """loss[t, i, j]: mean cross-entropy of task t (nats) at θ0 + α_i τ_1 + α_j τ_2."""

    tasks: tuple[str, str]
    alphas: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class PlaneMinima:
    """Where the losses of a plane are least, at the points of its grid.

    `own` ((α1, α2), …): of each task's own loss; `common` (α1, α2): of the mean of the two.
    `regret`: what each task loses at the common point beside its own, in nats.
    """

    own: tuple[tuple[float, float], tuple[float, float]]
    common: tuple[float, float]
    regret: tuple[float, float]


def plane_minima(plane: LossPlane) -> PlaneMinima:
    """The minima of a plane's losses and the price of one point for both tasks."""

    def least(loss: np.ndarray) -> tuple[int, int]:
        return np.unravel_index(loss.argmin(), loss.shape)

    places = [least(loss) for loss in (*plane.loss, plane.loss.mean(0))]
    points = [tuple(float(plane.alphas[i]) for i in place) for place in places]
    regret = (float(loss[places[2]] - loss.min()) for loss in plane.loss)
    return PlaneMinima(tuple(points[:2]), points[2], tuple(regret))


@torch.no_grad()
def loss_plane(
    bench: Workbench,
    tasks: Sequence[str],
    start: float = -0.4,
    stop: float = 1.4,
    num: int = 10,
    split: str = "val",
    limit: int = 100,
) -> LossPlane:
    """The losses of two tasks at `num` × `num` points with α from `start` to `stop`.

    The loss is measured on the first `limit` inputs of the split.
    """
    first, second = tasks
    a, b = (bench.tv[name].deltas[0] for name in tasks)
    alphas = np.linspace(start, stop, num)
    loss = np.empty((2, num, num))
    for i, x in enumerate(alphas):
        for j, y in enumerate(alphas):
            vector = bench.tv.base + float(x) * a + float(y) * b
            weights = bench.tv.layout.state_for(bench.encoder, vector)
            for t, name in enumerate(tasks):
                data = bench.suite[name].split(split).take(limit)
                features = encode(bench.encoder, data.inputs, weights, precision=bench.precision)
                logits = bench.heads[name].to(features.device)(features)
                loss[t, i, j] = F.cross_entropy(logits, data.labels.to(logits.device))
    return LossPlane((first, second), alphas, loss)
