"""Accuracies: by task, as a matrix, against the scale, against the number of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mergelib.figures.axes import legend_above, task_rows
from mergelib.figures.heatmap import heatmap
from mergelib.figures.style import BLACK, GREY, WIDTH, method_style, variant_lines
from mergelib.methods.titles import title_of

if TYPE_CHECKING:
    from mergelib.analysis.result import Result


def accuracy_dots(results: Mapping[str, Result]):
    """One row a task, one point a method with its 95 % interval; returns the figure.

    `results` maps keys of methods to results; the rows are the tasks of the first one.
    """
    tasks = list(next(iter(results.values())).right)
    figure, axis = plt.subplots(figsize=(WIDTH, 0.42 * len(tasks) + 0.9))
    for k, (key, result) in enumerate(results.items()):
        y = np.arange(len(tasks)) + 0.13 * (k - (len(results) - 1) / 2)
        rows = result.table.set_index("task").loc[tasks]
        p = 100 * rows["accuracy"].to_numpy()
        bars = [p - 100 * rows["low"].to_numpy(), 100 * rows["high"].to_numpy() - p]
        axis.errorbar(p, y, xerr=bars, linestyle="", label=title_of(key), **method_style(key))
    task_rows(axis, tasks)
    axis.set(xlabel="test accuracy (%)", xlim=(0, 101))
    legend_above(axis, len(results))
    return figure


def accuracy_matrix(
    matrix: pd.DataFrame, row_title: str, column_title: str, label: str = "accuracy (%)"
):
    """A heat map of shares in [0, 1] with the number (%) in each cell; returns the figure."""
    rows, columns = matrix.shape
    figure, axis = plt.subplots(figsize=(min(WIDTH, 0.66 * columns + 1.6), 0.42 * rows + 1.1))
    cells = heatmap(axis, 100 * matrix, (0, 100), numbers=".0f")
    axis.set(xlabel=column_title, ylabel=row_title)
    figure.colorbar(cells, ax=axis, label=label, shrink=0.9)
    return figure


LABEL_GAP = 4.2  # per cent: the height of a small label


def spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Rising heights moved upwards as little as needed to be at least `gap` apart."""
    steps = gap * np.arange(len(heights))
    return np.maximum.accumulate(heights - steps) + steps


def scale_curve(val: pd.DataFrame, test: pd.DataFrame, chosen: float, base: float, expert: float):
    """Mean accuracy against the scale λ on val and test, tasks as thin lines (test).

    `val` and `test` are indexed by λ with one column a task; `base` and `expert` are the mean
    accuracies drawn as horizontals, `chosen` the λ picked on val. Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4))
    for task in test:
        axis.plot(test.index, 100 * test[task], color=GREY, alpha=0.45, linewidth=0.8)
    ends = 100 * test.iloc[-1].sort_values()
    for task, height in zip(ends.index, spread(ends.to_numpy(), LABEL_GAP), strict=True):
        where = (test.index[-1], height)
        look = {"fontsize": 6.5, "color": GREY, "va": "center", "annotation_clip": False}
        axis.annotate(task, where, (5, 0), textcoords="offset points", **look)
    style = method_style("task_arithmetic")
    axis.plot(test.index, 100 * test.mean(axis=1), label="test, mean of the tasks", **style)
    axis.plot(
        val.index,
        100 * val.mean(axis=1),
        label="val, mean of the tasks",
        linestyle="--",
        color=style["color"],
        alpha=0.7,
    )
    axis.axhline(100 * expert, color=BLACK, linewidth=1, label="experts, mean (test)")
    axis.axhline(100 * base, color=GREY, linewidth=1, linestyle=":", label="base, mean (test)")
    axis.axvline(chosen, color=style["color"], linewidth=0.8, linestyle=":")
    axis.annotate(
        f"λ = {chosen:g} (chosen on val)", (chosen, 3), xytext=(4, 0), textcoords="offset points"
    )
    axis.set(xlabel="scale λ of the summed task vectors", ylabel="accuracy (%)", ylim=(0, 102))
    legend_above(axis, 2)
    return figure


def scale_curves(results: Mapping[str, Result]):
    """Mean accuracy on val against the scale λ of several methods, the chosen λ ringed; returns
    the figure.

    `results` maps keys of methods to results with a sweep. Variants of one method have its colour
    and marker and differ in their lines.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4))
    lines = variant_lines(results)
    for key, result in results.items():
        style, mean = method_style(key), 100 * result.sweep.mean(axis=1)
        axis.plot(mean.index, mean, linestyle=lines[key], label=title_of(key), **style)
        ring = {"color": style["color"], "markerfacecolor": "none", "markersize": 11}
        axis.plot(result.scale, mean[result.scale], "o", **ring)
    ring = {"color": GREY, "markerfacecolor": "none", "markersize": 8, "linestyle": ""}
    axis.plot([], [], "o", label="λ chosen on val", **ring)
    axis.set(xlabel="scale λ of the summed task vectors", ylabel="mean accuracy (%)")
    legend_above(axis, 3)
    return figure


def growth_curve(table: pd.DataFrame):
    """Accuracy as a share of the expert's against the number of merged tasks K.

    `table` has columns tasks (K), task, normalised (one row a set of tasks and task); the
    points are single tasks, the line their mean. Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.0))
    style = method_style("task_arithmetic")
    shift = np.linspace(-0.16, 0.16, table["task"].nunique())
    for offset, (_, rows) in zip(shift, table.groupby("task", sort=False), strict=True):
        axis.plot(
            rows["tasks"] + offset,
            100 * rows["normalised"],
            ".",
            color=GREY,
            alpha=0.6,
            label="one task" if offset == shift[0] else None,
        )
    mean = table.groupby("tasks")["normalised"].mean()
    axis.plot(mean.index, 100 * mean, label="mean", **style)
    axis.axhline(100, color=BLACK, linewidth=1, label="its expert")
    axis.set(
        xlabel="merged tasks K",
        ylabel="accuracy (% of the expert's)",
        xticks=sorted(table["tasks"].unique()),
    )
    axis.legend(loc="lower left")
    return figure
