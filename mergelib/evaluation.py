"""Accuracy of an encoder on a suite, per task, with 95 % Wilson intervals.

One function, `evaluate`, makes every accuracy of the book.
"""

from collections.abc import Iterable, Mapping

import pandas as pd
import torch
from torch.func import functional_call

from mergelib.intervals import wilson_interval
from mergelib.models.compute import mixed_precision
from mergelib.models.encoders import normalise_pixels
from mergelib.models.heads import Head
from mergelib.suites.suite import Suite
from mergelib.words import unknown

# Images encoded at once. On a CPU the activations of a few dozen images fit into its cache, those
# of hundreds do not; a GPU wants as many as it can get.
CPU_BATCH, GPU_BATCH = 64, 1000


@torch.no_grad()
def encode(
    encoder: torch.nn.Module,
    images: torch.Tensor,
    weights: Mapping[str, torch.Tensor] | None = None,
    batch: int | None = None,
) -> torch.Tensor:
    """Features (N, d) float32 of uint8 images (N, 3, H, W), on the encoder's device.

    `weights` replaces the encoder's own tensors for this call only (views of a flat vector do).
    `batch` images are encoded at once (default: what suits the device).
    """
    device = next(encoder.parameters()).device
    batch = batch or (CPU_BATCH if device.type == "cpu" else GPU_BATCH)
    encoder.eval()
    out = []
    for part in images.split(batch):
        x = normalise_pixels(part.to(device).float() / 255)
        with mixed_precision(device):
            f = encoder(x) if weights is None else functional_call(encoder, dict(weights), (x,))
        out.append(f.float())
    return torch.cat(out)


def predict(encoder, head: Head, images, weights=None, batch: int | None = None) -> torch.Tensor:
    """The predicted classes (N,) of uint8 images (N, 3, H, W)."""
    features = encode(encoder, images, weights, batch)
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
) -> pd.DataFrame:
    """One row a task: task, n, correct, accuracy, low, high (Wilson 95 %), normalised.

    `normalised` is accuracy / the expert's accuracy of the same split (`expert`), NaN without
    it. `limit` takes the first images of each task only. Raises ValueError or KeyError naming
    an unknown split or task before anything is computed.
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
        found = predict(encoder, heads[name], data.images, weights)
        row = accuracy_row(name, found == data.labels)
        row["normalised"] = row["accuracy"] / expert[name] if expert else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def accuracy_row(task: str, right: torch.Tensor) -> dict[str, object]:
    """task, n, correct, accuracy and its Wilson interval, of which images (n,) bool are right."""
    correct, n = int(right.sum()), len(right)
    low, high = wilson_interval(correct, n)
    row = {"task": task, "n": n, "correct": correct, "accuracy": correct / n}
    return {**row, "low": low, "high": high}
