"""Entropy as a stand-in for the loss: does being sure go with being right?

AdaMerging minimises the entropy of the predictions because the loss needs labels. Yang et al. 2024,
"AdaMerging", section 3.2.2, measure on images how far the two go together; here the same is asked
of images and of models along the scale λ, which is what a minimiser moves between.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.objective import entropy
from mergelib.analysis.losses import features, images_of
from mergelib.evaluation import CPU_BATCH, GPU_BATCH
from mergelib.workbench import Merge, Workbench


@torch.no_grad()
def uncertainty(
    bench: Workbench,
    vector: Tensor,
    split: str = "test",
    limit: int | None = None,
    tasks: Iterable[str] | None = None,
) -> pd.DataFrame:
    """One row an image: task, entropy H(p) and loss −log p_label in nats, right (bool).

    p are the class probabilities of the model with weights `vector` (P,), read through the task's
    own head, of the first `limit` images of each task's split. Raises KeyError or ValueError for an
    unknown task or split and for a limit below 1.
    """
    batch = CPU_BATCH if vector.device.type == "cpu" else GPU_BATCH
    bench.encoder.eval()
    tables = []
    for task in bench.suite.names if tasks is None else tasks:
        data = images_of(bench, task, split, limit)
        parts = [features(bench, vector, images) for images in data.images.split(batch)]
        logits = bench.heads[task].to(vector.device)(torch.cat(parts)).double().cpu()
        losses = torch.nn.functional.cross_entropy(logits, data.labels, reduction="none")
        columns = {"entropy": entropy(logits), "loss": losses}
        right = logits.argmax(-1) == data.labels
        columns = {name: values.numpy() for name, values in {**columns, "right": right}.items()}
        tables.append(pd.DataFrame({"task": task, **columns}))
    return pd.concat(tables, ignore_index=True)


def uncertainty_by_scale(
    bench: Workbench, merge: Merge, scales: Sequence[float], **options
) -> pd.DataFrame:
    """Means of `uncertainty` of merge(scale=λ) for each λ: columns scale, task, entropy, loss,
    accuracy. `options` are those of `uncertainty`."""
    tables = []
    for scale in scales:
        table = uncertainty(bench, merge(scale=scale), **options)
        means = table.groupby("task", sort=False).mean().rename(columns={"right": "accuracy"})
        tables.append(means.reset_index().assign(scale=float(scale)))
    columns = ["scale", "task", "entropy", "loss", "accuracy"]
    return pd.concat(tables, ignore_index=True)[columns]


def rank_correlations(table: pd.DataFrame, a: str = "entropy", b: str = "loss") -> pd.Series:
    """Spearman's rank correlation of two columns in each task of a table; index: task.

    1 if one rises with the other; equal values share their mean rank. A column that is constant in
    a task has none: NaN.
    """
    found = {}
    for task, rows in table.groupby("task", sort=False):
        varies = rows[[a, b]].nunique().min() > 1
        found[task] = rows[a].rank().corr(rows[b].rank()) if varies else np.nan
    return pd.Series(found)


def binned(table: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Images of an `uncertainty` table in `bins` groups of about equal size by their entropy.

    One row a group, the surest first: n, and means entropy, loss, accuracy. Raises ValueError for
    fewer than one group or more groups than images.
    """
    if not 1 <= bins <= len(table):
        raise ValueError(f"{len(table)} images cannot be divided into {bins} groups")
    order = table.sort_values("entropy", kind="stable", ignore_index=True)
    group = np.arange(len(order)) * bins // len(order)
    means = order[["entropy", "loss", "right"]].groupby(group).mean()
    return means.rename(columns={"right": "accuracy"}).assign(n=np.bincount(group))


def least_by(table: pd.DataFrame, column: str) -> float:
    """The λ of an `uncertainty_by_scale` table where the mean over tasks of a column is least."""
    return float(table.groupby("scale")[column].mean().idxmin())


def most_by(table: pd.DataFrame, column: str) -> float:
    """The λ of such a table where the mean over tasks of a column is greatest."""
    return float(table.groupby("scale")[column].mean().idxmax())
