"""Task vectors that lean on each other, in float64, and AWD's objective written out."""

import torch
from toys import normal as draw
from toys import one_tensor, random_state

from mergelib import Layout, TaskVectors

__all__ = ["draw", "leaning", "model", "side_by_side", "slow_objective", "vectors"]


def vectors(deltas):
    return one_tensor(deltas, torch.zeros_like(deltas[0]))


def side_by_side(instances):
    """Task vectors of a model with a tensor for each of these (K, P) ones."""
    deltas = torch.cat(list(instances), 1)
    base = torch.zeros_like(deltas[0])
    parts = base.split([x.shape[1] for x in instances])
    layout = Layout.from_state({f"w{i}": part for i, part in enumerate(parts)})
    return TaskVectors([f"t{i}" for i in range(len(deltas))], base, deltas, layout)


def leaning(tasks=4, size=60, seed=0, lean=0.5):
    """Random task vectors of about unit length that share a part."""
    deltas = draw(tasks, size, seed=seed) + lean * draw(size, seed=seed + 100)
    return vectors(deltas / size**0.5)


def model(tasks=3, seed=0):
    """Task vectors of a model of several tensors, in float64."""
    base = random_state(seed)
    experts = {f"t{i}": random_state(seed + 1 + i, near=base) for i in range(tasks)}
    tv = TaskVectors.from_states(base, experts).to(dtype=torch.float64)
    shared = 0.05 * draw(tv.layout.size, seed=seed)
    return tv.with_deltas(tv.deltas + shared)


def slow_objective(deltas, redundant, alpha):
    """f for many problems at once: deltas (…, K, P), redundant (…, P)."""
    v = deltas - redundant.unsqueeze(-2)
    u = v / v.norm(dim=-1, keepdim=True)
    tasks = deltas.shape[-2]
    apart = 1 - torch.eye(tasks, dtype=deltas.dtype)
    pairs = (u @ u.mT).abs() * apart
    return pairs.sum((-1, -2)) / (tasks * (tasks - 1)) + alpha * redundant.norm(dim=-1)
