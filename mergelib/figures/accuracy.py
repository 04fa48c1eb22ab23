"""Accuracies: by task, as a matrix, against the scale, against the number of tasks."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mergelib.figures.style import BLACK, GREY, WIDTH, method_style


def accuracy_dots(tables: Mapping[str, pd.DataFrame], labels: Mapping[str, str]):
    """One row a task, one point a method with its 95 % interval; returns the figure.

    `tables` maps a method to an `evaluate` table, `labels` a method to its name in the legend.
    """
    tasks = list(next(iter(tables.values()))["task"])
    figure, axis = plt.subplots(figsize=(WIDTH, 0.42 * len(tasks) + 0.9))
    for k, (method, table) in enumerate(tables.items()):
        y = np.arange(len(tasks)) + 0.13 * (k - (len(tables) - 1) / 2)
        rows = table.set_index("task").loc[tasks]
        p = 100 * rows["accuracy"].to_numpy()
        bars = [p - 100 * rows["low"].to_numpy(), 100 * rows["high"].to_numpy() - p]
        axis.errorbar(p, y, xerr=bars, linestyle="", label=labels[method], **method_style(method))
    axis.set_yticks(range(len(tasks)), tasks)
    axis.invert_yaxis()
    axis.set(xlabel="test accuracy (%)", xlim=(0, 101))
    axis.grid(axis="y", visible=False)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(tables))
    return figure


def accuracy_matrix(
    matrix: pd.DataFrame, row_title: str, column_title: str, label: str = "accuracy (%)"
):
    """A heat map of shares in [0, 1] with the number (%) in each cell; returns the figure."""
    rows, columns = matrix.shape
    figure, axis = plt.subplots(figsize=(min(WIDTH, 0.66 * columns + 1.6), 0.42 * rows + 1.1))
    values = 100 * matrix.to_numpy()
    image = axis.imshow(values, vmin=0, vmax=100, aspect="auto")
    for i in range(rows):
        for j in range(columns):
            dark = values[i, j] < 55
            axis.text(
                j,
                i,
                f"{values[i, j]:.0f}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
    axis.set_xticks(range(columns), matrix.columns, rotation=35, ha="right")
    axis.set_yticks(range(rows), matrix.index)
    axis.set(xlabel=column_title, ylabel=row_title)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, label=label, shrink=0.9)
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
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def scale_curves(
    sweeps: Mapping[str, pd.DataFrame], chosen: Mapping[str, float], methods: Mapping[str, str]
):
    """Mean accuracy against the scale λ of several methods; returns the figure.

    `sweeps` maps a label to a table indexed by λ with one column a task, `methods` a label to the
    method whose colour and marker it has (variants of one method differ in their lines), `chosen`
    a label to the λ picked on val, which is ringed; a label may be missing there.
    """
    figure, axis = plt.subplots(figsize=(WIDTH, 3.4))
    drawn = []
    for label, sweep in sweeps.items():
        style = method_style(methods[label])
        line = ("-", "--", ":", "-.")[drawn.count(methods[label]) % 4]
        drawn.append(methods[label])
        mean = 100 * sweep.mean(axis=1)
        axis.plot(mean.index, mean, linestyle=line, label=label, **style)
        if label in chosen:
            ring = {"color": style["color"], "markerfacecolor": "none", "markersize": 11}
            axis.plot(chosen[label], mean[chosen[label]], "o", **ring)
    ring = {"color": GREY, "markerfacecolor": "none", "markersize": 8, "linestyle": ""}
    axis.plot([], [], "o", label="λ chosen on val", **ring)
    axis.set(xlabel="scale λ of the summed task vectors", ylabel="mean accuracy (%)")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
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
