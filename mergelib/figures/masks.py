"""Masks over weights: the relaxed Bernoulli variable, what a learnt mask keeps, its draws."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mergelib.figures.axes import legend_above, task_rows
from mergelib.figures.heatmap import heatmap
from mergelib.figures.style import BLACK, BLUE, GREY, LINES, ORANGE, SKY, WIDTH, method_style

COLOURS = (BLACK, BLUE, SKY, ORANGE)


def relaxed_densities(m: Sequence[float], densities: Mapping[str, Mapping[str, Sequence[float]]]):
    """Densities over m, a panel each: title → label → (len(m),) values; returns the figure.

    The axis is cut where densities exceed 4.
    """
    figure, axes = plt.subplots(1, len(densities), figsize=(WIDTH, 2.7), sharey=True, squeeze=False)
    for axis, (title, curves) in zip(axes[0], densities.items(), strict=True):
        for k, (label, values) in enumerate(curves.items()):
            look = {"color": COLOURS[k % len(COLOURS)], "linestyle": LINES[k % len(LINES)]}
            axis.plot(m, values, label=label, **look)
        axis.set(title=title, xlabel="value m of the mask", ylim=(0, 4))
        axis.legend(fontsize=7, loc="upper center")
    axes[0, 0].set_ylabel("density")
    return figure


def mask_map(kinds: pd.DataFrame, magnitudes: pd.DataFrame):
    """Left: mask probability by kind of tensor and block. Right: by magnitude of the summed τ.

    `kinds` is a table of `analysis.by_kind`, `magnitudes` that of `analysis.kept_by_magnitude`.
    Returns the figure.
    """
    size = (WIDTH, 0.3 * len(kinds) + 1.2)
    figure, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=(1.25, 1))
    cells = heatmap(left, kinds, rotation=0, size=7)
    left.set(xlabel="block")
    figure.colorbar(cells, ax=left, label="mean probability σ(x)", location="top", shrink=0.9)
    style = method_style("concrete_task_arithmetic")
    right.axhline(0.5, color=GREY, linewidth=0.8, linestyle=":", label="start")
    right.plot(magnitudes["group"], magnitudes["probability"], label="learnt mask", **style)
    right.set(xlabel="tenth of the weights, by |Σ τ|", ylabel="mean probability σ(x)")
    right.set_xticks(magnitudes["group"])
    right.legend()
    return figure


def expert_masks(table: pd.DataFrame, labels: Mapping[str, str]):
    """One row a task: accuracy of the expert (star) and of its masked versions.

    `table` has columns task, expert and those that `labels` names (column → label; two at most).
    Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 0.36 * len(table) + 1.0))
    y = np.arange(len(table))
    axis.plot(100 * table["expert"], y, linestyle="", label="expert", **method_style("expert"))
    looks = [
        method_style("concrete_task_arithmetic"),
        {"color": GREY, "marker": "|", "markersize": 11},
    ]
    for (column, label), look in zip(labels.items(), looks, strict=False):
        axis.plot(100 * table[column], y, linestyle="", label=label, **look)
    task_rows(axis, table["task"])
    axis.set(xlabel="accuracy (%)")
    legend_above(axis, 3)
    return figure
