"""Coefficients that different methods give to the same task vectors, side by side."""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from mergelib.merging.disentangled import Disentangled
from mergelib.task_vectors import TaskVectors


def awd_weights(apart: Disentangled) -> Tensor:
    """w (K, n), float64, with Σ_k (τ_k − δ) = Σ_k w_k[s] τ_k in each of the n groups of AWD.

    With δ = Σ_k c_k τ_k that is w_k = 1 − K c_k: summing disentangled vectors is weighting the
    original ones. Raises ValueError if δ has a part outside the span of the task vectors.
    """
    if bool((apart.report.outside > 1e-6 * apart.norms().max()).any()):
        raise ValueError("δ lies partly outside the span of the task vectors: no weights make it")
    return (1 - len(apart) * apart.report.coefficients).T


def shared_weights(apart: Disentangled) -> pd.DataFrame:
    """`awd_weights` of whole-model AWD as a table, one row a task: c and weight = 1 − K c."""
    weights = awd_weights(apart)[:, 0].numpy()
    index = pd.Index(apart.tasks, name="task")
    return pd.DataFrame({"c": (1 - weights) / len(apart), "weight": weights}, index=index)


def coefficient_pairs(sets: Mapping[str, Tensor], tv: TaskVectors) -> pd.DataFrame:
    """One row a task and tensor with any weights: task, tensor and each set of coefficients (K, n).

    Raises ValueError for a set that is not one number a task and tensor.
    """
    names, shape = tv.layout.names, (len(tv), len(tv.layout.names))
    tables = {}
    for label, values in sets.items():
        if tuple(values.shape) != shape:
            raise ValueError(f"{label} must be of shape {shape}, not {tuple(values.shape)}")
        tables[label] = pd.DataFrame(values.cpu().numpy(), tv.tasks, names).stack()
    return pd.DataFrame(tables).rename_axis(["task", "tensor"]).reset_index()
