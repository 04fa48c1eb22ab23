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
