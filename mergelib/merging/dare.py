"""DARE: drop entries of the task vectors at random and rescale the rest."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mergelib.merging.task_arithmetic import task_scales
from mergelib.merging.ties import ties
from mergelib.methods.entry import method
from mergelib.vectors import passes
from mergelib.vectors.task_vectors import TaskVectors

_RANGE = 1 << 32  # a draw is an integer below this


@method(title="DARE", family="static", paper="yu2024dare")
def dare(
    tv: TaskVectors,
    drop: float = 0.5,
    scale: float | Sequence[float] | Tensor = 0.3,
    seed: int = 0,
    then: str = "task_arithmetic",
    density: float = 0.2,
) -> Tensor:
    """Task arithmetic or TIES on randomly thinned task vectors (dare_drop), (P,).

    Yu et al. 2024, "Language models are super Mario", section 3. `scale` is the following
    merger's, `density` that of TIES. Raises ValueError for what the parts refuse.
    """
    if then == "ties":
        return ties(dare_drop(tv, drop, seed), density=density, scale=scale)
    if then != "task_arithmetic":
        raise ValueError(f'then must be "task_arithmetic" or "ties", not {then!r}')
    scales = task_scales(scale, tv)
    _dropped_draws(drop)
    merged = tv.base.clone()
    for task, number in zip(tv.tasks, scales.tolist(), strict=True):
        if number:  # one task at a time: no second K×P numbers in memory
            merged.add_(dare_drop(tv[task], drop, seed).deltas[0], alpha=number)
    return merged


def dare_drop(tv: TaskVectors, drop: float = 0.5, seed: int = 0) -> TaskVectors:
    """m_k ⊙ τ_k / (1 − p): each entry is zero with probability p = `drop`, else rescaled.

    Independent for every entry, and unbiased: the expectation is τ_k. The draws of a task
    depend on `seed` and the task's name alone, so they are the same on every device, for any
    number of cores and whichever tasks are beside it. p is rounded down to a multiple of 2⁻³².
    Raises ValueError for p outside [0, 1) or a negative seed.
    """
    dropped = _dropped_draws(drop)
    if seed < 0:
        raise ValueError(f"seed must not be negative, not {seed}")
    rescale = _RANGE / (_RANGE - dropped)
    thinned = torch.empty_like(tv.deltas)

    def thin(rows: Sequence[tuple[str, Tensor, Tensor]]) -> Iterator[None]:
        for task, delta, out in rows:
            generator = np.random.Generator(np.random.SFC64([seed, *task.encode()]))
            # Numbers are drawn in order, so the width of a piece makes no difference to them.
            for piece in passes.columns(delta.numel(), delta.device):
                draws = generator.integers(_RANGE, size=piece.stop - piece.start, dtype=np.uint32)
                kept = torch.from_numpy(draws >= dropped).to(delta.device)
                torch.mul(delta[piece] * rescale, kept, out=out[piece])
            yield

    passes.run(thin, list(zip(tv.tasks, tv.deltas, thinned, strict=True)), tv.device)
    return tv.with_deltas(thinned)


def _dropped_draws(drop: float) -> int:
    """How many of the 2³² equally likely draws mean "drop"; ValueError for a bad probability."""
    if not 0 <= drop < 1:
        raise ValueError(f"drop must be at least 0 and below 1, not {drop}")
    return int(drop * _RANGE)
