"""Task vectors: angles between them, lengths by depth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mergelib.figures.heatmap import heatmap
from mergelib.figures.style import WIDTH, task_style


def cosine_matrix(cosines, tasks, limit: float = 0.4):
    """A heat map of the cosines (K, K) with the number of each pair; returns the figure.

    Colours saturate at ±`limit`: task vectors are far from parallel.
    """
    values, k = np.asarray(cosines), len(tasks)
    figure, axis = plt.subplots(figsize=(min(WIDTH, 0.62 * k + 1.4), 0.42 * k + 1.0))
    pairs = pd.DataFrame(np.where(np.eye(k, dtype=bool), np.nan, values), tasks, tasks)
    cells = heatmap(axis, pairs, (-limit, limit), diverging=True, numbers=".2f")
    figure.colorbar(cells, ax=axis, label="cosine", shrink=0.9)
    return figure


def depth_profile(names, norms, cosines, tasks):
    """Left: ‖τ‖ in each group of layers, one line a task. Right: the off-diagonal cosines there.

    `names` are n groups in order of depth, `norms` (n, K), `cosines` (n, K, K). Returns the
    figure; on the right the line is the mean over pairs, the band their range.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    x = np.arange(len(names))
    for k, task in enumerate(tasks):
        left.plot(
            x,
            np.asarray(norms)[:, k],
            color="0.35",
            alpha=0.7,
            marker=task_style(k)["marker"],
            markersize=4,
            linewidth=0.8,
            label=task,
        )
    left.set(ylabel="length of the task vector ‖τ‖", ylim=(0, None))
    left.legend(ncols=2, fontsize=6.5)
    pairs = np.asarray(cosines)[:, *np.triu_indices(len(tasks), 1)]
    right.fill_between(
        x,
        pairs.min(axis=1),
        pairs.max(axis=1),
        alpha=0.2,
        color="0.4",
        label="range over pairs",
        linewidth=0,
    )
    right.plot(x, pairs.mean(axis=1), color="0.1", marker="o", label="mean over pairs")
    right.axhline(0, color="0.5", linewidth=0.8)
    right.set(ylabel="cosine of two task vectors")
    right.legend()
    for axis in (left, right):
        axis.set_xticks(x, names, rotation=35, ha="right")
    return figure
