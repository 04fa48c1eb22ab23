"""Merging methods side by side: each chooses its λ on val, each is measured once on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from mergelib.evaluation import mean_interval
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
