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
from mergelib.models.inputs import Inputs, as_inputs, joined
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
    all of them must be there. `batch` inputs are encoded at once (default: as many as suit the
    device).
    `precision`: see mergelib.models.compute.
    """
    inputs, device = as_inputs(inputs), next(encoder.parameters()).device
    encoder.eval()
    places, out = [], []
    for place, part in inputs.batches(batch) if batch else inputs.chunks(device):
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


def predict_tasks(
    encoder,
    heads: Mapping[str, Head],
    inputs: Mapping[str, Inputs],
    weights=None,
    precision: str = "auto",
) -> dict[str, torch.Tensor]:
    """Per task the predicted classes (N,) of its inputs, each through the head of its task.

    Texts of all tasks are encoded together, sorted by length, which changes the features of none;
    unless the encoder mixes its weights for whole batches (`plan.routing` of a mixture).
    """
    alone = getattr(getattr(encoder, "plan", None), "routing", "sample") == "batch"
    if alone or len(inputs) < 2 or not all(x.pooled for x in inputs.values()):
        return {
            task: predict(encoder, heads[task], x, weights, precision=precision)
            for task, x in inputs.items()
        }
    features = encode(encoder, joined(list(inputs.values())), weights, precision=precision)
    each = features.split([len(x) for x in inputs.values()])
    return {
        task: heads[task].to(f.device)(f).argmax(dim=1).cpu()
        for task, f in zip(inputs, each, strict=True)
    }


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
    data = {name: suite[name].split(split).take(limit) for name in names}
    inputs = {name: d.inputs for name, d in data.items()}
    found = predict_tasks(encoder, heads, inputs, weights, precision)
    rows = []
    for name in names:
        row = accuracy_row(name, found[name] == data[name].labels)
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
