"""Learning on unlabelled inputs: entropy and loss, curves of runs, learnt coefficients."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mergelib.figures.accuracy import spread
from mergelib.figures.heatmap import heatmap
from mergelib.figures.style import (
    BLACK,
    BLUE,
    GREY,
    LINES,
    WIDTH,
    method_style,
    task_style,
    variant_lines,
)
from mergelib.methods.titles import title_of

AXES = {
    "step": "step",
    "passes": "passes (forward and backward, all tasks)",
    "seconds": "seconds",
}
EQUAL = {"color": GREY, "linewidth": 0.8, "linestyle": ":"}


def entropy_and_loss(by_scale: pd.DataFrame, bins: pd.DataFrame):
    """Left: mean entropy and mean loss against λ, minima ringed. Right: loss of inputs by entropy.

    `by_scale` is the table of `analysis.uncertainty_by_scale`, `bins` that of `analysis.binned`.
    Returns the figure.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    mean = by_scale.groupby("scale")[["entropy", "loss"]].mean()
    looks = {"loss": (BLACK, "o", "loss (needs labels)"), "entropy": (BLUE, "s", "entropy")}
    for column, (colour, marker, label) in looks.items():
        left.plot(mean.index, mean[column], color=colour, marker=marker, label=label)
        best = mean[column].idxmin()
        ring = {"color": colour, "markerfacecolor": "none", "markersize": 11}
        left.plot(best, mean[column][best], "o", **ring)
    left.set(xlabel="scale λ of the summed task vectors", ylabel="mean over tasks (nats)")
    left.set_ylim(0, None)
    left.legend()
    top = float(bins[["entropy", "loss"]].to_numpy().max())
    right.axline((0, 0), slope=1, label="loss = entropy", **EQUAL)
    label = "a tenth of the inputs"
    right.plot(bins["entropy"], bins["loss"], color=BLACK, marker="o", label=label)
    right.set(xlabel="mean entropy (nats)", ylabel="mean loss (nats)")
    right.set(xlim=(0, None), ylim=(0, 1.05 * top))
    right.legend()
    return figure


def learning_curves(
    curves: Mapping[str, pd.DataFrame],
    across: Sequence[str] = ("step",),
    levels: Mapping[str, float] | None = None,
):
    """Mean accuracy against each column of `across` ("step", "passes", "seconds"), a panel each.

    `curves` maps keys of methods to tables with those columns and accuracy; variants of one method
    have its colour and differ in their lines. A ring marks where the last of several stages (column
    `stage`) begins. `levels`, method → accuracy, are drawn as horizontals. Returns the figure.
    """
    size, lines = (WIDTH, 3.4), variant_lines(curves)
    figure, axes = plt.subplots(1, len(across), figsize=size, sharey=True, squeeze=False)
    for axis, column in zip(axes[0], across, strict=True):
        for key, curve in curves.items():
            look = {**method_style(key), "markersize": 4, "linestyle": lines[key]}
            axis.plot(curve[column], 100 * curve["accuracy"], label=title_of(key), **look)
            _ring(axis, curve, column, look["color"])
        for (key, level), line in zip((levels or {}).items(), LINES, strict=False):
            look = {"color": GREY, "linewidth": 1, "linestyle": line}
            axis.axhline(100 * level, label=title_of(key), **look)
        axis.set(xlabel=AXES[column])
    axes[0, 0].set_ylabel("mean accuracy (%)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def coefficient_paths(paths: Mapping[str, object], tasks: Sequence[str]):
    """Coefficients over steps, a panel a run: for each task the mean over its n groups of weights.

    `paths` maps a title to (steps + 1, K, n) coefficients. With n > 1 a band shows the middle 90 %
    of all K·n coefficients. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(paths), figsize=(WIDTH, 3.2), sharey=True, squeeze=False)
    for axis, (title, path) in zip(axes[0], paths.items(), strict=True):
        values = np.asarray(path)
        steps = np.arange(len(values))
        if values.shape[2] > 1:
            low, high = np.quantile(values.reshape(len(values), -1), [0.05, 0.95], axis=1)
            axis.fill_between(
                steps, low, high, color="0.85", linewidth=0, label="middle 90 % of all"
            )
        for k, task in enumerate(tasks):
            look = {**task_style(k), "markevery": max(1, len(values) // 6)}
            axis.plot(steps, values[:, k].mean(axis=1), label=task, markersize=4, **look)
        axis.set(xlabel="step", title=title)
    axes[0, 0].set_ylabel("coefficient λ")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=7)
    return figure


def coefficient_maps(blocks: pd.DataFrame, kinds: pd.DataFrame, start: float):
    """Learnt coefficients: tasks by block (left), kinds of tensor by residual block (right).

    Colours diverge from `start`, where all began. `blocks` is the table of `analysis.by_block`,
    `kinds` that of `analysis.by_kind`. Returns the figure.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 0.3 * max(len(blocks), len(kinds)) + 1.3)
    )
    values = np.concatenate([blocks.to_numpy().ravel(), kinds.to_numpy().ravel()])
    reach = max(float(np.nanmax(np.abs(values - start))), 1e-9)
    for axis, table, title in (
        (left, blocks, "by task (mean over tensors)"),
        (right, kinds, "by kind (mean over tasks)"),
    ):
        cells = heatmap(axis, table, (start - reach, start + reach), diverging=True, size=7)
        axis.set(xlabel="block", title=title)
    figure.colorbar(cells, ax=(left, right), label="coefficient λ", shrink=0.9)
    return figure


def sure_and_right(changes: pd.DataFrame):
    """Change of accuracy against change of entropy, a labelled point a task.

    `changes` has columns task, entropy (nats) and accuracy (share), both after minus before.
    Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(0.7 * WIDTH, 3.0))
    points = changes.sort_values("accuracy")
    x, y = points["entropy"].to_numpy(), 100 * points["accuracy"].to_numpy()
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.plot(x, y, linestyle="", color=BLACK, marker="o")
    axis.margins(0.12)
    low, high = axis.get_ylim()
    for task, where, height in zip(points["task"], x, spread(y, 0.06 * (high - low)), strict=True):
        look = {"fontsize": 7.5, "va": "center"}
        axis.annotate(task, (where, height), (6, 0), textcoords="offset points", **look)
    axis.set(xlabel="change of entropy (nats)", ylabel="change of accuracy (points)")
    return figure


def coefficients_compared(pairs: pd.DataFrame, x: str, y: str):
    """One point a task and tensor: two sets of coefficients against each other.

    `pairs` has columns task and those named `x` and `y`, which also name the axes. Dotted: equal.
    Returns the figure.
    """
    figure, axis = plt.subplots(figsize=(0.75 * WIDTH, 3.6))
    for k, (task, rows) in enumerate(pairs.groupby("task", sort=False)):
        look = {**task_style(k), "markersize": 3.5, "alpha": 0.6}
        axis.plot(rows[x], rows[y], linestyle="", label=task, **look)
    middle = float(pairs[[x, y]].to_numpy().mean())
    axis.axline((middle, middle), slope=1, **EQUAL)
    axis.set(xlabel=f"λ of {x}", ylabel=f"λ of {y}")
    figure.legend(loc="outside right center", fontsize=7)
    return figure


def curves_beside(panels: Mapping[str, Mapping[str, pd.DataFrame]]):
    """Mean accuracy against steps, a panel a source: title → method → table (step, accuracy).

    Variants of one method have its colour and differ in their lines, equal keys look the same in
    all panels. Rings mark where the last of several stages begins. Each panel has axes of its own.
    Returns the figure.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.6), squeeze=False)
    lines = variant_lines(key for curves in panels.values() for key in curves)
    handles = {}
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        for key, curve in curves.items():
            look = {**method_style(key), "markersize": 3, "linestyle": lines[key]}
            handles[key] = axis.plot(curve["step"], 100 * curve["accuracy"], **look)[0]
            _ring(axis, curve, "step", look["color"])
        axis.set(title=title, xlabel="step", ylabel="mean accuracy (%)")
    titles = [title_of(key) for key in handles]
    figure.legend(handles.values(), titles, loc="outside upper center", ncols=3)
    return figure


def _ring(axis, curve: pd.DataFrame, column: str, colour: str) -> None:
    """A ring where the last stage of a curve of several begins."""
    if "stage" in curve and curve["stage"].nunique() > 1:
        begin = curve[curve["stage"] == curve["stage"].iloc[-1]].iloc[0]
        ring = {"color": colour, "markerfacecolor": "white", "markersize": 8, "zorder": 3}
        axis.plot(begin[column], 100 * begin["accuracy"], "o", **ring)
