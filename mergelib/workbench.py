"""A suite with all that was made from it: encoder, heads, task vectors, and their accuracies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import torch

from mergelib.adaptation.bench import OfSuite
from mergelib.evaluation import evaluate
from mergelib.models.compute import number_format, resolve_device
from mergelib.models.heads import Head
from mergelib.suites import Suite, load_suite
from mergelib.suites.bases import load_encoder
from mergelib.training.experts import load_heads, load_task_vectors
from mergelib.vectors.task_vectors import TaskVectors


@dataclass(frozen=True)
class Workbench(OfSuite):
    """What a chapter needs at hand. `tv` holds the base θ0 and the K task vectors; `precision` is
    the number format of the encoder's products (mergelib.models.compute)."""

    suite: Suite
    encoder: torch.nn.Module
    heads: dict[str, Head]
    tv: TaskVectors
    precision: str = "auto"

    def evaluate(self, model: "Model | None" = None, **options) -> pd.DataFrame:
        """`mergelib.evaluation.evaluate` of a model: weights (P,), default θ0, or a mixture."""
        encoder, weights = self.placed(self.tv.base if model is None else model)
        options = {"precision": self.precision, **options}
        return evaluate(encoder, self.heads, self.suite, weights, **options)

    def placed(self, model: "Model") -> tuple[torch.nn.Module, dict[str, torch.Tensor] | None]:
        """(encoder, weights) as `mergelib.evaluation` takes them: the bench's encoder with
        weights (P,), or a mixture, which takes the encoder's place and has weights of its own."""
        if isinstance(model, torch.Tensor):
            return self.encoder, self.tv.layout.state_for(self.encoder, model)
        return model, None

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


Model = torch.Tensor | torch.nn.Module
"""A finished model: weights (P,), or a mixture."""


def _step(base: torch.Tensor, direction: torch.Tensor, scale: float) -> torch.Tensor:
    return base + scale * direction


def open_workbench(
    suite: str,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    test_inputs: int | None = None,
) -> Workbench:
    """Load (or make, if the cache lacks it) everything of the suite called `suite`.

    `seed` is the experts' seed, `precision` the number format in which encoders compute here
    (mergelib.models.compute), `test_inputs` how many test inputs of a task are reported on at most
    (default: all). Raises ValueError for an unknown suite or precision, FileNotFoundError where its
    data or its base is missing.
    """
    where = resolve_device(device)
    number_format(where, precision)  # an unknown word is refused before anything is made
    tasks = load_suite(suite)
    return Workbench(
        suite=tasks.reporting(test_inputs),
        encoder=load_encoder(suite, device=where),
        heads=load_heads(tasks, device, precision),
        tv=load_task_vectors(tasks, seed, device, precision),
        precision=precision,
    )


def best_scale(sweep: pd.DataFrame) -> float:
    """The λ with the highest mean accuracy of a sweep; the smaller one of two equals."""
    return float(sweep.mean(axis=1).idxmax())
