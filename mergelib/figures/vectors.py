"""Task vectors: angles between them, lengths by depth."""

import matplotlib.pyplot as plt
import numpy as np

from mergelib.figures.style import DIVERGING, METHOD_STYLES, WIDTH


def cosine_matrix(cosines, tasks, limit: float = 0.4):
    """A heat map of the cosines (K, K) with the number in each cell; returns the figure.

    Colours saturate at ±`limit`: task vectors are far from parallel.
    """
    values = np.asarray(cosines)
    k = len(tasks)
    figure, axis = plt.subplots(figsize=(min(WIDTH, 0.62 * k + 1.4), 0.42 * k + 1.0))
    shown = np.where(np.eye(k, dtype=bool), np.nan, values)
    image = axis.imshow(shown, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto")
    for i in range(k):
        for j in range(k):
            if i != j:
                axis.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=7.5)
    axis.set_xticks(range(k), tasks, rotation=35, ha="right")
    axis.set_yticks(range(k), tasks)
    axis.grid(False)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, label="cosine", shrink=0.9)
    return figure


def depth_profile(names, norms, cosines, tasks):
    """Left: ‖τ‖ in each group of layers, one line a task. Right: the off-diagonal cosines there.

    `names` are n groups in order of depth, `norms` (n, K), `cosines` (n, K, K). Returns the
    figure; on the right the line is the mean over pairs, the band their range.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    x = np.arange(len(names))
    styles = list(METHOD_STYLES.values())
    for k, task in enumerate(tasks):
        colour, marker = styles[k % len(styles)]
        left.plot(
            x,
            np.asarray(norms)[:, k],
            color="0.35",
            alpha=0.7,
            marker=marker,
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
