"""Consistent task arithmetic: weights under which every task gets its own vector back.

The Task Consistency Property asks L_k(θ0 + v) = L_k(θ0 + τ_k) of the merged step v. With the
assumptions that lead from there to orthogonal task vectors (first order, and a gradient along τ_k;
Xiong et al. 2024) it asks

    ⟨v − τ_k, τ_k⟩ = 0   for every task k.

Orthogonal task vectors fulfil this for v = Στ. But for any others it can be solved: with
v = Σ_j w_j τ_j it is G w = diag(G), K linear equations for K weights. Solved in every row of every
matrix for itself, this shortens the steps where the tasks agree and leaves the others alone.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mergelib.merging.task_arithmetic import task_arithmetic
from mergelib.methods.entry import method
from mergelib.vectors import passes
from mergelib.vectors.gram import group_gram
from mergelib.vectors.groups import Groups, Tile
from mergelib.vectors.task_vectors import TaskVectors

# Eigenvalues of the matrix of cosines that are a smaller share of the largest one than this are
# rounding errors of float32 weights.
DEPENDENT = 1e-6


@method(title="Consistent task arithmetic", family="static", paper="xiong2024awd")
def consistent_task_arithmetic(
    tv: TaskVectors,
    scale: float | Sequence[float] | Tensor = 0.3,
    granularity: str = "row",
) -> Tensor:
    """Task arithmetic on consistent task vectors, θ0 + Σ_k λ_k w_k τ_k, (P,).

    This project's own, from the property of Xiong et al. 2024. To try several λ, call `consistent`
    once and task_arithmetic on what it returns. Raises ValueError for what either refuses.
    """
    return task_arithmetic(consistent(tv, granularity), scale)


def consistent(tv: TaskVectors, granularity: str = "row") -> TaskVectors:
    """w_k τ_k with ⟨Σ_j w_j τ_j, τ_k⟩ = ⟨τ_k, τ_k⟩ for every k, in each group of weights.

    Groups are those of `tv.layout.segments(granularity)`, or with granularity="row" the rows of
    every matrix (the first dimension of every tensor of two or more; other tensors are one group).
    Orthogonal task vectors stay as they are; n equal ones get 1/n each. Where the task vectors are
    so dependent that no weights fulfil all K equations, w is the shortest least-squares solution
    (of the equations and weights for task vectors of unit length).

    Raises ValueError for an unknown granularity and for task vectors with NaN or infinite numbers.
    """
    groups = Groups.of_layout(tv.layout, granularity)
    weights = consistent_weights(group_gram(tv.deltas, groups)).to(tv.deltas)
    result = torch.empty_like(tv.deltas)

    def write(batch: Sequence[Tile]) -> Iterator[None]:
        for tile in batch:
            these = weights[tile.first : tile.first + tile.rows].T.unsqueeze(-1)
            torch.mul(tile.of(tv.deltas), these, out=tile.of(result))
            yield

    passes.run(write, groups.pieces(tv.device), tv.device)
    return tv.with_deltas(result)


def consistent_weights(gram: Tensor) -> Tensor:
    """w (n, K) with G w = diag(G) for Gram matrices G (n, K, K) float64; 0 for a zero vector.

    With unit vectors, u_k = w_k ‖τ_k‖ and cosines C: C u = ‖τ‖. Raises ValueError unless all
    numbers are finite.
    """
    if not bool(gram.isfinite().all()):
        raise ValueError("the task vectors hold NaN or infinite numbers")
    norms = gram.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    inverse = torch.where(norms > 0, 1 / norms, 0.0)
    cosines = gram * inverse.unsqueeze(-1) * inverse.unsqueeze(-2)
    solved = torch.linalg.pinv(cosines, rtol=DEPENDENT, hermitian=True) @ norms.unsqueeze(-1)
    return solved.squeeze(-1) * inverse
