"""A suite with all that was made from it: encoder, heads, task vectors, and their accuracies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import torch

from mergelib.evaluation import evaluate
from mergelib.models.base import load_encoder
from mergelib.models.compute import resolve_device
from mergelib.models.heads import Head
from mergelib.task_vectors import TaskVectors
from mergelib.tasks import Suite, load_suite
from mergelib.training.experts import load_heads, load_task_vectors


@dataclass(frozen=True)
class Workbench:
    """What a chapter needs at hand. `tv` holds the base θ0 and the K task vectors."""

    suite: Suite
    encoder: torch.nn.Module
    heads: dict[str, Head]
    tv: TaskVectors

    def evaluate(self, vector: torch.Tensor | None = None, **options) -> pd.DataFrame:
        """`mergelib.evaluation.evaluate` of the model with weights `vector` (P,), default θ0."""
        weights = self.tv.layout.unflatten(self.tv.base if vector is None else vector)
        return evaluate(self.encoder, self.heads, self.suite, weights, **options)

    def expert(self, task: str) -> torch.Tensor:
        """The expert's weights θ0 + τ (P,)."""
        return self.tv.base + self.tv[task].deltas[0]

    def along(self, direction: torch.Tensor) -> "Merge":
        """The function of the scale λ that gives θ0 + λ · direction (P,)."""
        return partial(_step, self.tv.base, direction)

    def with_vectors(self, vectors: TaskVectors) -> "Workbench":
        """The same workbench with other task vectors of the same base and tasks in its hands."""
        return replace(self, tv=vectors)

    def sweep(self, merge: "Merge", scales: Sequence[float], **options) -> pd.DataFrame:
        """Accuracies of merge(scale=λ) for each λ: one row a scale, one column a task."""
        rows = {}
        for scale in scales:
            table = self.evaluate(merge(scale=scale), **options)
            rows[float(scale)] = table.set_index("task")["accuracy"]
        return pd.DataFrame(rows).T.rename_axis("scale")


Merge = Callable[..., torch.Tensor]
"""A merging method with its vectors bound: called with `scale=λ` it gives weights (P,)."""


def _step(base: torch.Tensor, direction: torch.Tensor, scale: float) -> torch.Tensor:
    return base + scale * direction


def open_workbench(suite: str, seed: int = 0, device: str = "auto") -> Workbench:
    """Load (or make, if the cache lacks it) everything of the suite called `suite`.

    `seed` is the experts' seed. Raises ValueError for an unknown suite, FileNotFoundError where
    its data or its base is missing.
    """
    tasks, where = load_suite(suite), resolve_device(device)
    return Workbench(
        suite=tasks,
        encoder=load_encoder(suite, device=where),
        heads=load_heads(tasks, device),
        tv=load_task_vectors(tasks, seed, device),
    )


def best_scale(sweep: pd.DataFrame) -> float:
    """The λ with the highest mean accuracy of a sweep; the smaller one of two equals."""
    return float(sweep.mean(axis=1).idxmax())
