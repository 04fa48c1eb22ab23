"""The consistency gap: by task, by pair of tasks, against the scale and the number of tasks."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from mergelib.figures.accuracy import spread
from mergelib.figures.axes import legend_above, task_rows
from mergelib.figures.style import BLACK, GREEN, GREY, SEQUENTIAL, VERMILION, WIDTH
from mergelib.intervals import Z95

MEASURED = {"color": BLACK, "marker": "o"}
PREDICTED = {"color": BLACK, "marker": "o", "markerfacecolor": "white"}
CRUDE = {"color": GREY, "marker": "x"}
PREDICTIONS = {
    "predicted": ("predicted by the gradient", PREDICTED),
    "crude": ("predicted by inner products of task vectors", CRUDE),
}


def gap_dots(table: pd.DataFrame):
    """One row a task: the measured gap with its 95 % interval, and the two predictions.

    `table` is that of `analysis.consistency`. Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 0.42 * len(table) + 1.1))
    y = np.arange(len(table))
    axis.axvline(0, color=GREY, linewidth=0.8)
    bars = Z95 * table["error"]
    label = "measured (95 % interval)"
    look = {"linestyle": "", "label": label, **MEASURED}
    drawn = [axis.errorbar(table["gap"], y - 0.2, xerr=bars, **look)]
    for column, shift in (("predicted", 0.0), ("crude", 0.2)):
        label, look = PREDICTIONS[column]
        drawn += axis.plot(table[column], y + shift, linestyle="", label=label, **look)
    task_rows(axis, table["task"])
    axis.set(xlabel="change of the task's loss when the other vectors are added (nats)")
    legend_above(axis, 3, handles=drawn)
    return figure


def reversal_dots(table: pd.DataFrame):
    """One row a task: the gap and the two parts that it is the sum of.

    `table` is that of `analysis.reversal`. Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 0.36 * len(table) + 1.1))
    y = np.arange(len(table))
    axis.axvline(0, color=GREY, linewidth=0.8)
    for column, label, colour, marker in (
        ("odd", "reversed with the vectors (slope)", GREEN, "<"),
        ("even", "the same both ways (curvature)", VERMILION, ">"),
        ("gap", "gap, their sum", BLACK, "o"),
    ):
        axis.plot(table[column], y, linestyle="", color=colour, marker=marker, label=label)
    task_rows(axis, table["task"])
    axis.set(xlabel="change of the task's loss (nats)")
    legend_above(axis, 3)
    return figure


def interference_scatter(pairs: pd.DataFrame, named: int = 3):
    """Measured against predicted for all pairs of tasks, coloured by the cosine of their vectors.

    `pairs` is the table of `analysis.interference_pairs`. Left the prediction by the gradient,
    right that by inner products; on the line they would be exact. Bars are 95 % intervals. The
    `named` pairs farthest from the left line are named, "i ← j" for what j does to i. Returns the
    figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3), sharey=True)
    far = (pairs["measured"] - pairs["predicted"]).abs().nlargest(named).index
    for axis, (column, (label, _)) in zip(axes, PREDICTIONS.items(), strict=True):
        x, y = pairs[column], pairs["measured"]
        bars = {"linestyle": "", "color": GREY, "alpha": 0.4, "linewidth": 0.8}
        axis.axline((0, 0), slope=1, color=BLACK, linewidth=0.8)
        for line in (axis.axhline, axis.axvline):
            line(0, color=GREY, linewidth=0.6, linestyle=":")
        axis.errorbar(x, y, yerr=Z95 * pairs["error"], zorder=1, **bars)
        dots = axis.scatter(x, y, c=pairs["cosine"], cmap=SEQUENTIAL, s=22, zorder=2)
        axis.set(xlabel=f"{label.replace(' of task vectors', '')} (nats)", xmargin=0.2)
        axis.locator_params(axis="x", nbins=5)
    axes[0].set_ylabel("measured change of loss (nats)")
    low, high = axes[0].get_ylim()
    far = pairs.loc[far].sort_values("measured")
    heights = spread(far["measured"].to_numpy() + 0.03 * (high - low), 0.05 * (high - low))
    for row, height in zip(far.itertuples(), heights, strict=True):
        axes[0].text(
            row.predicted,
            height,
            f"{row.task} ← {row.other}",
            fontsize=6.5,
            ha="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        )
    label = "cosine of the two task vectors"
    figure.colorbar(dots, ax=axes, label=label, shrink=0.9, ticks=MaxNLocator(5))
    return figure


def gap_curves(by_scale: pd.DataFrame, by_count: pd.DataFrame):
    """The gap against the scale λ (left) and the number of merged tasks K (right).

    `by_scale` and `by_count` are the tables of `analysis.gap_by_scale` and `gap_by_count`. Grey
    are single tasks, black their mean, dashed the mean of the predictions by the gradient.
    Returns the figure.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    for task, rows in by_scale.groupby("task", sort=False):
        label = "one task" if task == by_scale["task"].iloc[0] else None
        left.plot(rows["scale"], rows["gap"], color=GREY, alpha=0.5, linewidth=0.8, label=label)
    shift = np.linspace(-0.16, 0.16, by_count["task"].nunique())
    for offset, (_, rows) in zip(shift, by_count.groupby("task", sort=False), strict=True):
        right.plot(rows["tasks"] + offset, rows["gap"], ".", color=GREY, alpha=0.6)
    for axis, table, column in ((left, by_scale, "scale"), (right, by_count, "tasks")):
        mean = table.groupby(column)[["gap", "predicted"]].mean()
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.plot(mean.index, mean["gap"], label="measured, mean", **MEASURED)
        label = "predicted by the gradient, mean"
        axis.plot(mean.index, mean["predicted"], linestyle="--", label=label, **PREDICTED)
    left.set(xlabel="scale λ of the task vectors", ylabel="consistency gap (nats)")
    right.set(xlabel="merged tasks K", xticks=sorted(by_count["tasks"].unique()))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure
