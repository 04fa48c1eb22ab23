"""Merging methods side by side: each chooses its λ on val, each is measured once on test.

Two models that are measured on the same inputs share most of their luck. The interval of their
difference comes from the inputs on which exactly one of them is right, and is several times
narrower than the intervals of the two accuracies suggest.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.analysis.losses import inputs_of
from mergelib.analysis.result import Result
from mergelib.evaluation import predict_tasks
from mergelib.intervals import Z95
from mergelib.methods.titles import title_of
from mergelib.workbench import Merge, Model, Workbench, best_scale


def tune(
    bench: Workbench,
    merge: Merge,
    scales: Sequence[float],
    val_limit: int | None = None,
    test_limit: int | None = None,
    seeds: Sequence[int] | None = None,
) -> Result:
    """Choose λ by the mean accuracy on val, then measure on test.

    `merge` takes `scale` to weights (P,); the first `val_limit` and `test_limit` inputs a task are
    used, all if None. Of a random method `seeds` are given: `merge` takes `seed` as well, λ is
    chosen with the first of them, and the model of every seed is measured.
    """
    first = merge if seeds is None else partial(merge, seed=seeds[0])
    sweep = bench.sweep(first, scales, split="val", limit=val_limit)
    scale = best_scale(sweep)
    if seeds is None:
        return Result(answered_right(bench, merge(scale=scale), limit=test_limit), scale, sweep)
    each = [answered_right(bench, merge(scale=scale, seed=s), limit=test_limit) for s in seeds]
    right = {task: torch.stack([one[task] for one in each]) for task in each[0]}
    return Result(right, scale, sweep)


def measured(bench: Workbench, model: Model, limit: int | None = None) -> Result:
    """A finished model, weights (P,) or a mixture, on the first `limit` test inputs a task."""
    return Result(answered_right(bench, model, limit=limit))


def compare(
    bench: Workbench,
    methods: Mapping[str, Merge | Model],
    scales: Sequence[float] = (),
    val_limit: int | None = None,
    test_limit: int | None = None,
) -> dict[str, Result]:
    """Each method by its key: functions of the scale are tuned (`tune`), finished models are
    `measured`, all on the same inputs."""
    return {
        key: measured(bench, method, test_limit)
        if isinstance(method, Model)
        else tune(bench, method, scales, val_limit, test_limit)
        for key, method in methods.items()
    }


def answered_right(
    bench: Workbench,
    model: Model,
    split: str = "test",
    limit: int | None = None,
    tasks: Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """Per task (default: all), on which inputs (n,) bool a model, weights (P,) or a mixture, is
    right."""
    encoder, weights = bench.placed(model)
    names = bench.suite.names if tasks is None else tasks
    data = {name: inputs_of(bench, name, split, limit) for name in names}
    inputs = {name: d.inputs for name, d in data.items()}
    found = predict_tasks(encoder, bench.heads, inputs, weights, bench.precision)
    return {name: found[name] == d.labels for name, d in data.items()}


def difference(one: Result, other: Result) -> tuple[float, float]:
    """Mean accuracy of `one` less that of `other`, and half the width of its 95 % interval.

    Per task the variance is that of the differences input by input (−1, 0 or 1; of several seeds
    their means) over n; tasks are independent. Raises ValueError unless both were measured on the
    same numbers of inputs.
    """
    shares = [{k: _shares(r) for k, r in result.right.items()} for result in (one, other)]
    if len({tuple((k, len(v)) for k, v in sorted(share.items())) for share in shares}) > 1:
        raise ValueError("a paired difference needs both models measured on the same inputs")
    apart = [shares[0][task] - shares[1][task] for task in shares[0]]
    variance = sum(float(d.var(correction=0)) / len(d) for d in apart)
    mean = sum(float(d.mean()) for d in apart) / len(apart)
    return mean, Z95 * math.sqrt(variance) / len(apart)


def _shares(right: Tensor) -> Tensor:
    """Of each input (n,) the share of the seeds that are right: 0 or 1 of a single one."""
    return right.double().reshape(-1, right.shape[-1]).mean(0)


def differences(results: Mapping[str, Result], reference: str) -> pd.DataFrame:
    """One row a method: λ, mean accuracy, difference to `reference`, and its 95 % half-width."""
    rows = []
    for key, result in results.items():
        change, half = difference(result, results[reference])
        row = {"method": key, "λ": result.scale, "mean": result.mean}
        rows.append({**row, "difference": change, "±": half})
    return pd.DataFrame(rows).set_index("method")


def summary(results: Mapping[str, Result], expert: Mapping[str, float]) -> pd.DataFrame:
    """One row a method: λ, mean accuracy with its 95 % interval, the mean over tasks of accuracy /
    the expert's accuracy (`expert`, by task), the worst task and its accuracy."""
    rows = []
    for key, result in results.items():
        table, (low, high) = result.table, result.interval
        worst = table.loc[table["accuracy"].idxmin()]
        rows.append(
            {
                "method": key,
                "λ": result.scale,
                "mean": result.mean,
                "low": low,
                "high": high,
                "normalised": float((table["accuracy"] / table["task"].map(expert)).mean()),
                "worst task": worst["task"],
                "its accuracy": worst["accuracy"],
            }
        )
    return pd.DataFrame(rows).set_index("method")


def by_task(results: Mapping[str, Result]) -> pd.DataFrame:
    """One row a method, one column a task, and their mean: accuracies."""
    table = pd.DataFrame({key: result.by_task for key, result in results.items()}).T
    return table.assign(mean=table.mean(axis=1)).rename_axis("method")


def means(results: Mapping[object, Result], name: str) -> pd.DataFrame:
    """One row a result: its key in the column `name`, mean accuracy, 95 % interval (low, high)."""
    rows = [[key, result.mean, *result.interval] for key, result in results.items()]
    return pd.DataFrame(rows, columns=[name, "accuracy", "low", "high"])


def titled(table: pd.DataFrame) -> pd.DataFrame:
    """A copy for reading, with the titles of methods in place of the keys in the index."""
    return table.rename(index=title_of)


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """A copy for reading: columns of shares (0–1) as per cent, one decimal; others as they are.

    Numbers that there are not, as the λ of a method without one, are a dash. Methods have their
    titles.
    """
    shown = titled(table) if table.index.name == "method" else table.copy()
    for column in shown.columns.difference({"scale", "λ", "n"}):
        if pd.api.types.is_float_dtype(shown[column]):
            # Nine decimals first, so that equal shares are shown alike whatever made them.
            shown[column] = (100 * shown[column]).round(9).round(1)
    for column in shown.columns[shown.isna().any()]:
        shown[column] = shown[column].astype(object).where(shown[column].notna(), "–")
    return shown


def lost_at(results: Mapping[str, Result], factor: float = 2) -> dict[str, float]:
    """What `factor` times the chosen λ costs each method: its mean accuracy on val at the chosen λ
    less that at the multiple, on straight lines between grid points (the last one, if the multiple
    lies beyond)."""
    lost = {}
    for key, result in results.items():
        mean = result.sweep.mean(axis=1).sort_index()
        far = float(np.interp(factor * result.scale, mean.index, mean))
        lost[key] = float(mean.loc[result.scale]) - far
    return lost
