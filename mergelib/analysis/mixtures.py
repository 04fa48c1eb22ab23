"""What a mixture gives to whom: coefficients by task, block and input, and routing by batch."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.streams import derived_seed
from mergelib.analysis.losses import inputs_of
from mergelib.evaluation import accuracy_row, encode
from mergelib.mixtures.mixture import Mixture
from mergelib.mixtures.twin.model import TwinModel
from mergelib.models.inputs import Inputs, joined
from mergelib.workbench import Workbench


@dataclass(frozen=True)
class Routing:
    """Coefficients that inputs of K tasks get of K task vectors in S mixed parts.

    `means` (K, S, K): the mean λ of inputs of a task (first axis) in a part for a vector (last
    axis). `first` (K, S, K): the share of those inputs of which that vector has the largest λ.
    """

    tasks: tuple[str, ...]
    parts: tuple[str, ...]
    means: np.ndarray
    first: np.ndarray

    def first_choice(self) -> pd.DataFrame:
        """The shares, mean over the parts: rows are tasks of inputs, columns task vectors."""
        return pd.DataFrame(self.first.mean(1), self.tasks, self.tasks)

    def own_first(self) -> pd.DataFrame:
        """The share of a task's inputs whose own vector comes first: rows tasks, columns parts."""
        own = np.arange(len(self.tasks))
        return pd.DataFrame(self.first[own, :, own], self.tasks, self.parts)

    def most_mistaken(self) -> tuple[str, str, float]:
        """(task, other, share): the task whose inputs most often have another's vector first."""
        shares = self.first.mean(1)
        np.fill_diagonal(shares, -1.0)
        task, other = np.unravel_index(shares.argmax(), shares.shape)
        return self.tasks[task], self.tasks[other], float(shares[task, other])

    def by_part(self) -> dict[str, pd.DataFrame]:
        """The mean λ of each part: rows are tasks of inputs, columns task vectors."""
        return {
            part: pd.DataFrame(self.means[:, s], self.tasks, self.tasks)
            for s, part in enumerate(self.parts)
        }


def coefficients(bench: Workbench, model: Mixture | TwinModel, inputs: Inputs) -> Tensor:
    """λ of N inputs in each part, (N, parts, K) float32, in the bench's number format."""
    return model.coefficients(lambda: encode(model, inputs, precision=bench.precision))


def routing(
    bench: Workbench, model: Mixture, split: str = "test", limit: int | None = None
) -> Routing:
    """The coefficients of the first `limit` inputs of each task's split.

    Of equal coefficients the first in the order of the tasks counts as the largest.
    """
    tasks = model.tasks
    means, first = [], []
    for task in tasks:
        found = coefficients(bench, model, inputs_of(bench, task, split, limit).inputs)
        means.append(found.double().mean(0).cpu())
        chosen = torch.nn.functional.one_hot(found.argmax(-1), len(tasks))
        first.append(chosen.double().mean(0).cpu())
    parts = tuple(f"block {part.site.block}" for part in model.parts)
    if len(set(parts)) < len(parts):
        parts = tuple(f"block {part.site.block}, {part.site.kind}" for part in model.parts)
    return Routing(tasks, parts, torch.stack(means).numpy(), torch.stack(first).numpy())


def named_tasks(
    bench: Workbench, model: Mixture | TwinModel, split: str = "test", limit: int | None = None
) -> pd.DataFrame:
    """How often routing gives away the task: columns task, named.

    `named` is the share of a task's first `limit` inputs to which the vector of their own task has
    the largest λ, as a mean over the mixed parts.
    """
    tasks = model.tasks
    rows = []
    for number, task in enumerate(tasks):
        data = inputs_of(bench, task, split, limit)
        found = coefficients(bench, model, data.inputs).mean(1)
        named = (found.argmax(-1) == number).double().mean().item()
        rows.append({"task": task, "named": named})
    return pd.DataFrame(rows)


def routings(
    bench: Workbench,
    model: Mixture,
    split: str = "test",
    limit: int | None = None,
    batch: int = 64,
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """`evaluate` tables (without `normalised`) of one model under three routings.

    "each input": by itself. "batches of one task": λ is the mean over `batch` inputs that are
    all of one task, as common code has it, which tells the model what the task is. "mixed
    batches": the mean over `batch` inputs of all tasks in random order (`seed`). The model is
    left as it was.
    """
    tasks = model.tasks
    data = {task: inputs_of(bench, task, split, limit) for task in tasks}
    everything = joined([d.inputs for d in data.values()])
    seeds = torch.Generator().manual_seed(derived_seed(seed, "mixed batches"))
    order = torch.randperm(len(everything), generator=seeds)
    before, how = model.plan.routing, {"precision": bench.precision}
    try:
        features = {"each input": encode(model.set_routing("sample"), everything, **how)}
        model.set_routing("batch")
        pure = [encode(model, d.inputs, batch=batch, **how) for d in data.values()]
        features["batches of one task"] = torch.cat(pure)
        mixed = encode(model, everything[order], batch=batch, **how)
        features["mixed batches"] = mixed[order.argsort().to(mixed.device)]
    finally:
        model.set_routing(before)
    counts = [len(d) for d in data.values()]
    return {
        name: pd.DataFrame(
            accuracy_row(task, _right(bench, task, part, data[task].labels))
            for task, part in zip(tasks, found.split(counts), strict=True)
        )
        for name, found in features.items()
    }


def _right(bench: Workbench, task: str, features: Tensor, labels: Tensor) -> Tensor:
    logits = bench.heads[task].to(features.device)(features)
    return logits.argmax(-1).cpu() == labels
