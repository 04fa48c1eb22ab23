"""The loss around the base, in the plane of two task vectors."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from mergelib.evaluation import encode
from mergelib.task_vectors import TaskVectors


@dataclass(frozen=True)
class LossPlane:
    """loss[t, i, j]: mean cross-entropy of task t (nats) at θ0 + α_i τ_1 + α_j τ_2."""

    tasks: tuple[str, str]
    alphas: np.ndarray
    loss: np.ndarray


@torch.no_grad()
def loss_plane(
    encoder, heads, suite, tv: TaskVectors, tasks, alphas, split: str = "val", limit: int = 150
) -> LossPlane:
    """Evaluate two tasks' losses on the grid `alphas` × `alphas` (first `limit` images each)."""
    first, second = tasks
    a, b = tv[first].deltas[0], tv[second].deltas[0]
    alphas = np.asarray(alphas, dtype=float)
    loss = np.empty((2, len(alphas), len(alphas)))
    for i, x in enumerate(alphas):
        for j, y in enumerate(alphas):
            weights = tv.layout.unflatten(tv.base + float(x) * a + float(y) * b)
            for t, name in enumerate(tasks):
                data = suite[name].split(split).take(limit)
                features = encode(encoder, data.images, weights)
                logits = heads[name].to(features.device)(features)
                loss[t, i, j] = F.cross_entropy(logits, data.labels.to(logits.device))
    return LossPlane((first, second), alphas, loss)
