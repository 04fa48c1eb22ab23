"""How much the accuracy of a masked model depends on the mask that is deployed."""

import pandas as pd

from mergelib.adaptation.concrete import Concrete
from mergelib.adaptation.mask import KINDS
from mergelib.workbench import Workbench


def deployments(bench: Workbench, learnt: Concrete, draws: int = 5, **options) -> pd.DataFrame:
    """The `evaluate` tables of a Concrete result with its masks of every kind, in one table.

    Columns kind, draw and those of `evaluate`. Of kind "sample" there are `draws` random masks
    (seeds 0, 1, …), of the others one. `options` are those of `evaluate`.
    """
    tables = []
    for kind in KINDS:
        for draw in range(draws if kind == "sample" else 1):
            table = bench.evaluate(learnt.weights(kind, seed=draw), **options)
            tables.append(table.assign(kind=kind, draw=draw))
    return pd.concat(tables, ignore_index=True)


def deployment_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Of a `deployments` table one row a kind: mean accuracy over tasks and draws, and of the
    draws' mean accuracies the standard deviation, the least and the most (NaN, and the mean
    itself, where there is one draw)."""
    by_draw = table.groupby(["kind", "draw"], sort=False)["accuracy"].mean()
    return by_draw.groupby("kind", sort=False).agg(["mean", "std", "min", "max"])
