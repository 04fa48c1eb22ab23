"""Merging methods side by side: each chooses its λ on val, each is measured once on test.

Two models that are measured on the same images share most of their luck. The interval of their
difference comes from the images on which exactly one of them is right, and is several times
narrower than the intervals of the two accuracies suggest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from torch import Tensor

from mergelib.analysis.losses import inputs_of
from mergelib.evaluation import accuracy_row, predict
from mergelib.intervals import Z95, mean_interval
from mergelib.workbench import Merge, Model, Workbench, best_scale


@dataclass(frozen=True)
class Tuned:
    """A merged model: the λ chosen on val (None if the method has none) and its test table."""

    scale: float | None
    test: pd.DataFrame

    @property
    def mean(self) -> float:
        return mean_interval(self.test)[0]


def tune(
    bench: Workbench,
    merge: Merge,
    scales: Sequence[float],
    expert: Mapping[str, float],
    limit: int | None = None,
) -> Tuned:
    """Choose λ by mean accuracy on val (first `limit` images a task), then measure on test."""
    scale = best_scale(bench.sweep(merge, scales, split="val", limit=limit))
    return Tuned(scale, bench.evaluate(merge(scale=scale), expert=expert))


def fixed(
    bench: Workbench,
    model: Model,
    expert: Mapping[str, float],
    limit: int | None = None,
) -> Tuned:
    """A method without λ, weights (P,) or a mixture, measured on test (first `limit` images)."""
    return Tuned(None, bench.evaluate(model, expert=expert, limit=limit))


def over_seeds(
    bench: Workbench,
    merge: Merge,
    scales: Sequence[float],
    expert: Mapping[str, float],
    seeds: Sequence[int],
    limit: int | None = None,
) -> tuple[Tuned, float]:
    """A random method: λ chosen with the first seed, test tables averaged over all seeds.

    Returns the mean result and the standard deviation over seeds of the mean test accuracy (0
    for a single seed). `merge` takes `scale` and `seed`.
    """
    first = partial(merge, seed=seeds[0])
    scale = best_scale(bench.sweep(first, scales, split="val", limit=limit))
    tables = [bench.evaluate(merge(scale=scale, seed=s), expert=expert) for s in seeds]
    columns = ["accuracy", "low", "high", "normalised"]
    mean = tables[0].copy()
    mean[columns] = sum(table[columns] for table in tables) / len(tables)
    means = pd.Series([table["accuracy"].mean() for table in tables])
    return Tuned(scale, mean.drop(columns="correct")), float(means.std(ddof=0))


def normalised(results: Mapping[str, Tuned], expert: Mapping[str, float]) -> dict[str, Tuned]:
    """The results with each accuracy over the expert's in the column `normalised`, which tables
    of earlier chapters come without."""
    return {
        name: replace(
            tuned,
            test=tuned.test.assign(
                normalised=tuned.test["accuracy"] / tuned.test["task"].map(expert)
            ),
        )
        for name, tuned in results.items()
    }


def summary(results: Mapping[str, Tuned]) -> pd.DataFrame:
    """One row a method: λ, mean accuracy with its 95 % interval, worst task, mean normalised."""
    rows = []
    for method, tuned in results.items():
        mean, low, high = mean_interval(tuned.test)
        worst = tuned.test.loc[tuned.test["accuracy"].idxmin()]
        rows.append(
            {
                "method": method,
                "λ": tuned.scale,
                "mean": mean,
                "low": low,
                "high": high,
                "normalised": float(tuned.test["normalised"].mean()),
                "worst task": worst["task"],
                "its accuracy": worst["accuracy"],
            }
        )
    return pd.DataFrame(rows).set_index("method")


def means(tables: Mapping[object, pd.DataFrame], name: str) -> pd.DataFrame:
    """One row a table: its key in the column `name`, mean accuracy, 95 % interval (low, high)."""
    rows = [[key, *mean_interval(table)] for key, table in tables.items()]
    return pd.DataFrame(rows, columns=[name, "accuracy", "low", "high"])


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """A copy for reading: columns of shares (0–1) as per cent, one decimal; others as they are.

    Numbers that there are not, as the λ of a method without one, are a dash.
    """
    shown, apart = table.copy(), {"scale", "λ", "n"}
    for column in shown.columns.difference(apart):
        if pd.api.types.is_float_dtype(shown[column]):
            # Nine decimals first, so that equal shares are shown alike whatever made them.
            shown[column] = (100 * shown[column]).round(9).round(1)
    for column in shown.columns[shown.isna().any()]:
        shown[column] = shown[column].astype(object).where(shown[column].notna(), "–")
    return shown


@dataclass(frozen=True)
class Compared:
    """One method: its λ chosen on val (None if it was given weights), its sweep on val (a row a
    λ, a column a task; None without λ), and which test images of each task it gets right."""

    scale: float | None
    sweep: pd.DataFrame | None
    right: dict[str, Tensor]

    @property
    def mean(self) -> float:
        """Mean over the tasks of the share of images that are right."""
        return sum(float(r.double().mean()) for r in self.right.values()) / len(self.right)

    @property
    def table(self) -> pd.DataFrame:
        """One row a task: task, n, correct, accuracy, low, high (Wilson 95 %)."""
        return pd.DataFrame([accuracy_row(*item) for item in self.right.items()])


def compare(
    bench: Workbench,
    methods: Mapping[str, Merge | Tensor],
    scales: Sequence[float],
    val_limit: int | None = None,
    test_limit: int | None = None,
) -> dict[str, Compared]:
    """Each method with its own λ by mean accuracy on val, then once on test.

    A method is a function of `scale` to weights (P,), or weights that have no λ to choose. The
    first `val_limit` and `test_limit` images a task are used, the same for all methods.
    """
    results = {}
    for name, merge in methods.items():
        sweep = scale = None
        vector = merge
        if not isinstance(merge, Tensor):
            sweep = bench.sweep(merge, scales, split="val", limit=val_limit)
            scale = best_scale(sweep)
            vector = merge(scale=scale)
        results[name] = Compared(scale, sweep, answered_right(bench, vector, limit=test_limit))
    return results


def measured(
    bench: Workbench, models: Mapping[str, Model], limit: int | None = None
) -> dict[str, Compared]:
    """Finished models, weights (P,) or mixtures, on the first `limit` test images a task."""
    return {
        name: Compared(None, None, answered_right(bench, model, limit=limit))
        for name, model in models.items()
    }


def answered_right(
    bench: Workbench, model: Model, split: str = "test", limit: int | None = None
) -> dict[str, Tensor]:
    """Per task, on which images (n,) bool a model, weights (P,) or a mixture, is right."""
    encoder, weights = bench.placed(model)
    right = {}
    for name in bench.suite.names:
        data = inputs_of(bench, name, split, limit)
        right[name] = (
            predict(encoder, bench.heads[name], data.inputs, weights, precision=bench.precision)
            == data.labels
        )
    return right


def difference(one: Compared, other: Compared) -> tuple[float, float]:
    """Mean accuracy of `one` less that of `other`, and half the width of its 95 % interval.

    Per task the variance is that of the image-wise differences (−1, 0 or 1) over n; tasks are
    independent. Raises ValueError unless both were measured on the same numbers of images.
    """
    if {k: len(v) for k, v in one.right.items()} != {k: len(v) for k, v in other.right.items()}:
        raise ValueError("a paired difference needs both models measured on the same images")
    differences = [one.right[k].double() - other.right[k].double() for k in one.right]
    variance = sum(float(d.var(correction=0)) / len(d) for d in differences)
    mean = sum(float(d.mean()) for d in differences) / len(differences)
    return mean, Z95 * math.sqrt(variance) / len(differences)


def differences(results: Mapping[str, Compared], reference: str) -> pd.DataFrame:
    """One row a method: λ, mean accuracy, difference to `reference`, and its 95 % half-width."""
    rows = []
    for name, result in results.items():
        change, half = difference(result, results[reference])
        rows.append(
            {
                "method": name,
                "λ": result.scale,
                "mean": result.mean,
                "difference": change,
                "±": half,
            }
        )
    return pd.DataFrame(rows).set_index("method")


def lost_at(
    sweeps: Mapping[str, pd.DataFrame], chosen: Mapping[str, float], factor: float = 2
) -> dict[str, float]:
    """What `factor` times the chosen λ costs each method: its mean accuracy at the chosen λ less
    that at the multiple, on straight lines between grid points (the last one, if it lies beyond).
    """
    lost = {}
    for name, sweep in sweeps.items():
        mean, far = sweep.mean(axis=1).sort_index(), factor * chosen[name]
        lost[name] = float(mean.loc[chosen[name]] - np.interp(far, mean.index, mean))
    return lost
