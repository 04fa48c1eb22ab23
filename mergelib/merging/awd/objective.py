"""What AWD minimises, f(δ) = mean_{i≠j} |cos(τ_i − δ, τ_j − δ)| + α ‖δ‖₂, from few numbers.

The exact search has coordinates, the descent has inner products, the report has the vectors; what
they have in common is written here.
"""

import torch
from torch import Tensor


def pair_weights(points: Tensor) -> Tensor:
    """1 / (number of pairs i ≠ j) for pairs of points that are not zero, else 0. (n, K, K).

    `points` is (n, K, D). A zero point is a task that leaves this group of weights alone: it has
    no direction.
    """
    present = (points != 0).any(-1).to(points.dtype)
    pairs = present.unsqueeze(-1) * present.unsqueeze(-2)
    pairs = pairs - torch.diag_embed(present)
    return pairs / pairs.sum((-1, -2), keepdim=True).clamp_min(1)


def value(weights: Tensor, magnitudes: Tensor, alpha: float | Tensor, length: Tensor) -> Tensor:
    """f (n,) from the weights (n, K, K) and |cos| (n, K, K) of all pairs, and ‖δ‖ (n,).

    With something smooth in the place of the two magnitudes it is the smoothed f.
    """
    return (weights * magnitudes).sum((-1, -2)) + alpha * length


def cosines_of(gram: Tensor) -> tuple[Tensor, Tensor]:
    """cos(v_i, v_j) (n, K, K) and ‖v_i‖ (n, K) from ⟨v_i, v_j⟩ (n, K, K); 0 for a zero vector."""
    smallest = torch.finfo(gram.dtype).tiny
    norms = gram.diagonal(dim1=-2, dim2=-1).clamp_min(smallest).sqrt()
    return gram / (norms.unsqueeze(-1) * norms.unsqueeze(-2)), norms
