"""What a method learns on: a model, its heads and the unlabelled inputs of its tasks."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.streams import Stream, unlabelled
from mergelib.adaptation.weights import Classify, ImageClassifier
from mergelib.models.heads import Head
from mergelib.suites.suite import Suite
from mergelib.vectors.task_vectors import TaskVectors

if TYPE_CHECKING:
    from mergelib.workbench import Workbench

Bench: TypeAlias = "Workbench | tuple[torch.nn.Module, dict[str, Head], Suite]"


def parts_of(bench: Bench) -> tuple[torch.nn.Module, dict[str, Head], Suite]:
    """(encoder, heads, suite) of a workbench, or the three themselves."""
    if isinstance(bench, Sequence):
        encoder, heads, suite = bench
        return encoder, heads, suite
    return bench.encoder, bench.heads, bench.suite


def inputs_and_model(
    bench: Bench, tasks: Sequence[str], split: str, seed: int
) -> tuple[dict[str, Stream], Classify]:
    """The unlabelled streams of some tasks, and the logits of the bench's model on them."""
    encoder, heads, suite = parts_of(bench)
    streams = unlabelled(suite, split, seed, tasks)
    return streams, ImageClassifier(encoder, heads, suite.subset(tasks))


def fingerprint(tv: TaskVectors, options: Mapping[str, object]) -> dict[str, list[float]]:
    """What tells a checkpoint's task vectors from others: their lengths, if there is to be one."""
    return {"lengths": tv.norms().tolist()} if options.get("checkpoint") is not None else {}


def on_weights(
    evaluate: Callable[[Tensor], pd.DataFrame] | None, weights: Callable[[], Tensor]
) -> Callable[[], pd.DataFrame] | None:
    """The loop's `evaluate` from one that takes weights (P,)."""
    return None if evaluate is None else lambda: evaluate(weights())
