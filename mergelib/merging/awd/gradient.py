"""AWD by gradient descent on all P numbers of δ, from δ = 0: the way in which others report it.

Here for comparison. One of its hundreds of steps costs about as much as the whole exact solver
(mergelib.merging.awd.solve), and plain gradient descent does not leave the span of the task
vectors, over which the exact solver minimises anyway.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mergelib.merging.awd.objective import cosines_of, pair_weights, value
from mergelib.vectors import passes
from mergelib.vectors.gram import TileReader, row_products
from mergelib.vectors.groups import Groups, Tile
from mergelib.vectors.task_vectors import TaskVectors

_BETAS, _EPS = (0.9, 0.999), 1e-8  # Adam's


class Descent(NamedTuple):
    """δ (P,) after the last step; ⟨τ_k, δ⟩ (n, K), ‖δ‖² (n,) and the objective before the first
    step and after each, (steps + 1, n), for n groups."""

    redundant: Tensor
    products: Tensor
    squares: Tensor
    trajectory: Tensor


class Slope(NamedTuple):
    """∇f = Σ_k a_k τ_k + b δ in each group: `of_tasks` is a (n, K), `of_redundant` is b (n,);
    `value` is f (n,)."""

    of_tasks: Tensor
    of_redundant: Tensor
    value: Tensor


def slope(gram: Tensor, products: Tensor, squares: Tensor, alpha: float) -> Slope:
    """The gradient of f, from G_ij = ⟨τ_i, τ_j⟩ (n, K, K), ⟨τ_k, δ⟩ (n, K) and ‖δ‖² (n,).

    With v_i = τ_i − δ, n_i = ‖v_i‖, c_ij = cos(v_i, v_j) and w the weight of a pair,

        ∇f = −2 Σ_i v_i Σ_{j≠i} w sign(c_ij) (1/(n_i n_j) − c_ij/n_i²) + α δ/‖δ‖ .

    At δ = 0, where ‖δ‖ has no gradient, the last term is left out.
    """
    inner = gram - products.unsqueeze(-1) - products.unsqueeze(-2) + squares[:, None, None]
    cosines, norms = cosines_of(inner)
    lengths = norms.unsqueeze(-1) * norms.unsqueeze(-2)
    weights = pair_weights(gram.diagonal(dim1=-2, dim2=-1).unsqueeze(-1))
    length = squares.clamp_min(0).sqrt()
    signed = weights * cosines.sign()
    along = -2 * (signed * (1 / lengths - cosines / norms.unsqueeze(-1) ** 2)).sum(-1)
    shrink = torch.where(length > 0, alpha / length, 0.0)
    f = value(weights, cosines.abs(), alpha, length)
    return Slope(along, shrink - along.sum(-1), f)


def descend(
    tv: TaskVectors,
    groups: Groups,
    gram: Tensor,
    alpha: float,
    optimiser: str = "gd",
    lr: float = 0.01,
    steps: int = 300,
) -> Descent:
    """`steps` steps of δ ← δ − lr ∇f ("gd") or of Adam with its usual constants ("adam").

    A step is one pass over the K×P numbers: each piece of δ takes its step and gives its part
    of the inner products that the next gradient is made of. Beside the task vectors there are P
    numbers in memory, or 3P for Adam. Raises ValueError for another optimiser, a step size that
    is not positive and finite, or a negative number of steps.
    """
    if optimiser not in ("gd", "adam"):
        raise ValueError(f'optimiser must be "gd" or "adam", not {optimiser!r}')
    if not (lr > 0 and math.isfinite(lr)):
        raise ValueError(f"lr must be positive and finite, not {lr}")
    if steps < 0:
        raise ValueError(f"steps must not be negative, not {steps}")
    deltas = tv.deltas
    state = deltas.new_zeros(1 if optimiser == "gd" else 3, deltas.shape[1])
    pieces = groups.pieces(deltas.device)
    products, squares = torch.zeros_like(gram[:, 0]), torch.zeros_like(gram[:, 0, 0])
    now = slope(gram, products, squares, alpha)
    trajectory = [now.value]
    for number in range(1, steps + 1):
        of_tasks = now.of_tasks.to(deltas.device).unsqueeze(1)
        of_redundant = now.of_redundant.to(deltas.device).unsqueeze(-1)

        def move(
            batch: Sequence[Tile],
            of_tasks: Tensor = of_tasks,
            of_redundant: Tensor = of_redundant,
            number: int = number,
        ) -> Iterator[tuple[Tensor, Tensor]]:
            read = TileReader(deltas, batch)
            for tile in batch:
                these = slice(tile.first, tile.first + tile.rows)
                part, place = read(tile), tile.of(state)
                row = place[0].double()
                gradient = (of_tasks[these] @ part.transpose(0, 1)).squeeze(1)
                gradient += of_redundant[these] * row
                if optimiser == "adam":
                    gradient = _adam(gradient, place[1], place[2], number)
                row.sub_(gradient, alpha=lr)
                place[0].copy_(row)
                yield row_products(part, place[0].double())

        across, lengths = zip(*passes.run(move, pieces, deltas.device), strict=True)
        products, squares = (groups.total(pieces, x) for x in (across, lengths))
        now = slope(gram, products, squares, alpha)
        trajectory.append(now.value)
    return Descent(state[0], products, squares, torch.stack(trajectory))


def _adam(gradient: Tensor, mean: Tensor, square: Tensor, number: int) -> Tensor:
    """Adam's direction (Kingma and Ba 2015, algorithm 1) at step `number`; updates its means."""
    first, second = _BETAS
    step = gradient.to(mean.dtype)
    mean.lerp_(step, 1 - first)
    square.mul_(second).addcmul_(step, step, value=1 - second)
    size = (square.double() / (1 - second**number)).sqrt_().add_(_EPS)
    return mean.double() / (1 - first**number) / size
