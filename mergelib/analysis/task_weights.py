"""The control for methods that re-weight task vectors: one λ_k a task, learnt from labels.

Whole-vector AWD followed by task arithmetic is θ0 + Σ_k λ_k τ_k for some λ_k. What can be had in
this family at all is found here by minimising the loss itself over the K numbers.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from mergelib.analysis.losses import features, inputs_of
from mergelib.merging.task_arithmetic import task_arithmetic, task_scales
from mergelib.models.compute import mixed_precision
from mergelib.models.inputs import joined
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.workbench import Workbench


def tuned_task_weights(
    bench: Workbench,
    vectors: TaskVectors | None = None,
    split: str = "val",
    limit: int | None = None,
    steps: int = 60,
    lr: float = 0.03,
    batch: int = 8,
    start: float | Sequence[float] = 0.3,
    seed: int = 0,
) -> tuple[Tensor, pd.DataFrame]:
    """λ (K,) that minimises Σ_t L_t(θ0 + Σ_k λ_k τ_k), and the history of the search.

    L_t is the mean cross-entropy of task t on the first `limit` inputs of its split (all if None),
    *with their labels*. Adam (Kingma & Ba 2015) from λ = `start`, its rate falling from `lr` to 0
    along half a cosine; each step sees `batch` inputs of every task, drawn without replacement and
    in a new order each time round (`seed`), in one evaluation of the model. ∂/∂λ_k = ⟨τ_k, ∂/∂θ⟩.

    The history has one row a step: step, loss (the sum over tasks, of that step's inputs at the λ
    before the step) and that λ, one column a task. Raises ValueError for a start that is not
    finite or not one number or K, for steps, batch or limit below 1, and KeyError for a task that
    the suite does not have.
    """
    vectors = bench.tv if vectors is None else vectors
    for name, value in (("steps", steps), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
    weights = task_scales(start, vectors).clone().requires_grad_()
    data = [inputs_of(bench, name, split, limit) for name in vectors.tasks]
    draws = [_orders(len(s), batch, seed * 10_007 + t) for t, s in enumerate(data)]
    optimiser = torch.optim.Adam([weights], lr=lr)
    bench.encoder.eval()
    history = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.5 * lr * (1 + math.cos(math.pi * step / steps))
        picks = [next(draw) for draw in draws]
        inputs = joined([s.inputs[pick] for s, pick in zip(data, picks, strict=True)])
        with torch.enable_grad(), mixed_precision(vectors.device, bench.precision):
            found = features(bench, task_arithmetic(vectors, weights), inputs)
            parts = found.split([len(pick) for pick in picks])
        loss = sum(
            F.cross_entropy(bench.heads[name].to(f.device)(f), s.labels[pick].to(f.device))
            for name, f, s, pick in zip(vectors.tasks, parts, data, picks, strict=True)
        )
        optimiser.zero_grad()
        loss.backward()
        before = dict(zip(vectors.tasks, weights.tolist(), strict=True))
        history.append({"step": step, "loss": float(loss.detach()), **before})
        optimiser.step()
    return weights.detach(), pd.DataFrame(history)


def _orders(n: int, batch: int, seed: int) -> Iterator[Tensor]:
    """Batches of indices below n, without end; every time round in a new random order."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(n, generator=generator).split(batch)
