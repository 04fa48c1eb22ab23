"""Lengths of and angles between task vectors, as a whole and by depth."""

import numpy as np
import torch

from mergelib import merging
from mergelib.parameters import Layout
from mergelib.task_vectors import TaskVectors


def by_depth(tv: TaskVectors) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the n blocks, ‖τ_k‖ in each (n, K), cosines in each (n, K, K), float64."""
    names = [name for name, _ in tv.layout.segments("block")]
    gram = tv.gram(by="block").cpu()
    norms = torch.diagonal(gram, dim1=1, dim2=2).clamp(min=0).sqrt()
    return names, norms.numpy(), tv.cosines(by="block").cpu().numpy()


def off_diagonal(cosines) -> np.ndarray:
    """The K(K−1)/2 values above the diagonal of a symmetric (K, K) matrix."""
    values = np.asarray(cosines)
    return values[np.triu_indices(len(values), 1)]


def closest_pair(cosines, tasks) -> str:
    """The two tasks with the largest cosine, as "a and b"."""
    values = np.triu(np.asarray(cosines), 1)
    i, j = np.unravel_index(np.argmax(values), values.shape)
    return f"{tasks[i]} and {tasks[j]}"


def seen_at_right_angles(points, alpha: float = 1e-3) -> np.ndarray:
    """The point (D,) near the origin from which the points (K, D) are seen at right angles, or as
    nearly as there is one: AWD's δ at a small α."""
    deltas = torch.as_tensor(points, dtype=torch.float64)
    layout = Layout.from_state({"points": torch.zeros(deltas.shape[1])})
    names = [f"point {i}" for i in range(len(deltas))]
    tv = TaskVectors(names, torch.zeros_like(deltas[0]), deltas, layout)
    return merging.awd(tv, alpha=alpha).redundant.numpy()


def redundant_share(tv: TaskVectors, redundant: torch.Tensor) -> tuple[list[str], np.ndarray]:
    """Names of the n blocks and ‖δ‖ / mean_k ‖τ_k‖ in each, (n,)."""
    names = [name for name, _ in tv.layout.segments("block")]
    shared = TaskVectors(["δ"], tv.base, redundant.unsqueeze(0), tv.layout)
    share = shared.norms(by="block")[:, 0] / tv.norms(by="block").mean(1)
    return names, share.cpu().numpy()
