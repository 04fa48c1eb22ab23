"""Accuracy of an encoder on a suite, per task, with 95 % Wilson intervals.

One function, `evaluate`, makes every accuracy of the book.
"""

from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from torch.func import functional_call

from mergelib.intervals import wilson_interval
from mergelib.models.compute import mixed_precision
from mergelib.models.heads import Head
from mergelib.models.inputs import Inputs, as_inputs
from mergelib.suites.suite import Suite
from mergelib.words import unknown


@torch.no_grad()
def encode(
    encoder: torch.nn.Module,
    inputs: Inputs | torch.Tensor,
    weights: Mapping[str, torch.Tensor] | None = None,
    batch: int | None = None,
    precision: str = "auto",
) -> torch.Tensor:
    """Features (N, d) float32 of N inputs, on the encoder's device.

    `weights` replaces the encoder's own tensors for this call only (views of a flat vector do);
    all of them must be there. `batch` inputs are encoded at once (default: what suits the device).
    `precision`: see mergelib.models.compute.
    """
    inputs, device = as_inputs(inputs), next(encoder.parameters()).device
    encoder.eval()
    places, out = [], []
    for place, part in inputs.batches(batch or inputs.fit(device)):
        arguments = part.prepare(device)
        with mixed_precision(device, precision):
            if weights is None:
                f = encoder(*arguments)
            else:
                f = functional_call(encoder, dict(weights), arguments, strict=True)
        places.append(place)
        out.append(f.float())
    if all(isinstance(place, slice) for place in places):
        return torch.cat(out)
    return torch.cat(out)[torch.cat(places).argsort().to(device)]


def predict(
    encoder, head: Head, inputs, weights=None, batch: int | None = None, precision: str = "auto"
) -> torch.Tensor:
    """The predicted classes (N,) of N inputs; arguments as for `encode`."""
    features = encode(encoder, inputs, weights, batch, precision)
    return head.to(features.device)(features).argmax(dim=1).cpu()


def evaluate(
    encoder: torch.nn.Module,
    heads: Mapping[str, Head],
    suite: Suite,
    weights: Mapping[str, torch.Tensor] | None = None,
    split: str = "test",
    tasks: Iterable[str] | None = None,
    expert: Mapping[str, float] | None = None,
    limit: int | None = None,
    precision: str = "auto",
) -> pd.DataFrame:
    """One row a task: task, n, correct, accuracy, low, high (Wilson 95 %), normalised.

    The first `limit` inputs of each task are used, all if None. `expert` maps tasks to the accuracy
    of their experts on the same split, and `normalised` is accuracy over that: NaN without
    `expert`. Raises ValueError or KeyError naming an unknown split or task before anything is
    computed.
    """
    names = suite.names if tasks is None else tuple(tasks)
    for name in names:
        suite[name].split(split)
        if name not in heads:
            raise KeyError(unknown("head", name, heads, f"suite {suite.name!r}"))
    rows = []
    for name in names:
        data = suite[name].split(split)
        data = data if limit is None else data.take(limit)
        found = predict(encoder, heads[name], data.inputs, weights, precision=precision)
        row = accuracy_row(name, found == data.labels)
        row["normalised"] = row["accuracy"] / expert[name] if expert else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def accuracy_row(task: str, right: torch.Tensor) -> dict[str, object]:
    """A task's row of an `evaluate` table: task, n, correct, accuracy, low, high (Wilson 95 %).

    `right` (n,) bool says which inputs were answered rightly.
    """
    correct, n = int(right.sum()), len(right)
    low, high = wilson_interval(correct, n)
    row = {"task": task, "n": n, "correct": correct, "accuracy": correct / n}
    return {**row, "low": low, "high": high}
