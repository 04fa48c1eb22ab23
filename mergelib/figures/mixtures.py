"""Mixtures: the layer as a drawing, the coefficients that inputs get, whose vector comes first."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.patches import FancyBboxPatch

from mergelib.figures.accuracy import LABEL_GAP, spread
from mergelib.figures.axes import legend_above
from mergelib.figures.heatmap import heatmap
from mergelib.figures.style import BLACK, BLUE, GREY, VERMILION, WIDTH, method_style


def mixture_schematic():
    """A transformer block whose MLP is mixed for each input. A drawing, not a measurement."""
    figure, axis = plt.subplots(figsize=(WIDTH, 2.9))
    boxes = {
        "tokens h of\none input": (0.0, 1.0, 1.5, 0.9, GREY),
        "attention\n(merged once)": (2.1, 1.0, 1.7, 0.9, BLUE),
        "MLP with\nthe weights θ(x)": (5.9, 1.0, 1.9, 0.9, VERMILION),
        "next block": (8.4, 1.0, 1.4, 0.9, GREY),
        "mean over\nthe tokens": (3.3, 2.75, 1.5, 0.8, BLACK),
        "router\nλ = W h̄ + b": (5.2, 2.75, 1.6, 0.8, BLACK),
        "θ₀ + Σₖ λₖ τₖ": (7.3, 2.75, 2.1, 0.8, VERMILION),
    }
    for text, (x, y, width, height, colour) in boxes.items():
        look = {"boxstyle": "round,pad=0.04", "edgecolor": colour, "linewidth": 1.5}
        axis.add_patch(FancyBboxPatch((x, y), width, height, facecolor="white", **look))
        axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=8.5)
    arrows = [
        ((1.58, 1.45), (2.04, 1.45)),
        ((3.88, 1.45), (5.84, 1.45)),
        ((7.88, 1.45), (8.34, 1.45)),
        ((4.05, 1.45), (4.05, 2.68)),
        ((4.88, 3.15), (5.14, 3.15)),
        ((6.88, 3.15), (7.24, 3.15)),
        ((7.6, 2.68), (7.0, 1.98)),
    ]
    for start, end in arrows:
        axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.25", "lw": 1.2})
    axis.text(9.65, 3.15, "frozen:\nθ₀, τ₁ … τ_K", va="center", fontsize=7.5, color="0.3")
    axis.text(6.0, 3.75, "learnt", ha="center", fontsize=7.5, color="0.3")
    axis.set(xlim=(-0.2, 11.1), ylim=(0.7, 4.0))
    axis.set_axis_off()
    return figure


def routing_maps(parts: Mapping[str, pd.DataFrame], columns: int = 3):
    """A heat map for each mixed part: rows are tasks of the inputs, columns are task vectors, and
    a cell is the mean coefficient λ that those inputs give to that vector.

    `parts` is `Routing.by_part`. One colour scale for all, white at zero. Returns the figure.
    """
    columns = min(columns, len(parts))
    rows = -(-len(parts) // columns)
    tasks = list(next(iter(parts.values())).index)
    height = rows * (0.2 * len(tasks) + 0.45) + 0.7
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False
    )
    reach = max(max(float(table.abs().to_numpy().max()) for table in parts.values()), 1e-9)
    for axis, (title, table) in zip(axes.flat, parts.items(), strict=False):
        cells = heatmap(axis, table, (-reach, reach), diverging=True, rotation=60, size=7)
        axis.set_title(title)
    for axis in list(axes.flat)[len(parts) :]:
        axis.set_visible(False)
    figure.supxlabel("task vector", fontsize=9)
    figure.supylabel("inputs of", fontsize=9)
    figure.colorbar(cells, ax=axes, label="mean coefficient λ", shrink=0.8)
    return figure


def first_choices(matrix: pd.DataFrame, own: pd.DataFrame):
    """Which task vector has the largest coefficient λ, in % of a task's inputs.

    Left, all parts together: rows are tasks of the inputs, columns are task vectors. Right, part by
    part: the share of the inputs to which the vector of their own task is first, a line a task and
    their mean. `matrix` is `Routing.first_choice`, `own` `Routing.own_first`. Returns the figure.
    """
    tasks = list(matrix.index)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(WIDTH, 0.3 * len(tasks) + 1.5), width_ratios=(1.15, 1)
    )
    heatmap(left, 100 * matrix, (0, 100), numbers=".0f")
    left.set(xlabel="task vector with the largest λ (%)", ylabel="inputs of")
    x = np.arange(own.shape[1])
    for row in 100 * own.to_numpy():
        right.plot(x, row, color=GREY, alpha=0.5, linewidth=0.8)
    ends = 100 * own.iloc[:, -1].sort_values()
    for task, height in zip(ends.index, spread(ends.to_numpy(), 1.3 * LABEL_GAP), strict=True):
        look = {"fontsize": 6.5, "color": GREY, "va": "center", "annotation_clip": False}
        right.annotate(task, (x[-1], height), (5, 0), textcoords="offset points", **look)
    style = method_style("wemoe")
    right.plot(x, 100 * own.mean().to_numpy(), label="mean of the tasks", **style)
    right.axhline(100 / len(tasks), color=BLACK, linewidth=0.8, linestyle=":", label="chance")
    names = [name.removeprefix("block ") for name in own.columns]
    right.set_xticks(x, names, rotation=0 if len(max(names, key=len)) < 3 else 35)
    right.set(xlabel="block", ylabel="own vector first (% of inputs)", ylim=(0, 102))
    legend_above(right, 2)
    return figure
