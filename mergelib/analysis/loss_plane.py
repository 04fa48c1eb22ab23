"""The loss around the base, in the plane of two task vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from mergelib.evaluation import encode
from mergelib.workbench import Workbench


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

    The loss is measured on the first `limit` images of the split.
    """
    first, second = tasks
    a, b = (bench.tv[name].deltas[0] for name in tasks)
    alphas = np.linspace(start, stop, num)
    loss = np.empty((2, num, num))
    for i, x in enumerate(alphas):
        for j, y in enumerate(alphas):
            weights = bench.tv.layout.unflatten(bench.tv.base + float(x) * a + float(y) * b)
            for t, name in enumerate(tasks):
                data = bench.suite[name].split(split).take(limit)
                features = encode(bench.encoder, data.images, weights)
                logits = bench.heads[name].to(features.device)(features)
                loss[t, i, j] = F.cross_entropy(logits, data.labels.to(logits.device))
    return LossPlane((first, second), alphas, loss)
