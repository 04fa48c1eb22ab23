"""The disentanglement error of two tasks over (α₁, α₂)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np

from mergelib.figures.style import BLACK, WIDTH


def disentanglement_maps(maps: Mapping[str, object]):
    """One panel a pair of tasks, on one colour scale; a dotted box marks [0, 1]².

    `maps` maps a title to a `mergelib.analysis.planes.DisentanglementMap`. Returns the
    figure.
    """
    figure, axes = plt.subplots(
        1, len(maps), figsize=(min(WIDTH, 3.2 * len(maps) + 0.6), 3.3), squeeze=False
    )
    top = max(float(found.error.max()) for found in maps.values())
    step = 0.1 if top <= 1 else 0.2
    levels = step * np.arange(max(2, np.ceil(top / step) + 1))
    for axis, (title, found) in zip(axes[0], maps.items(), strict=True):
        filled = axis.contourf(
            found.alphas, found.alphas, found.error.T, levels=levels, cmap="cividis_r"
        )
        axis.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=BLACK, linewidth=0.8, linestyle=":")
        first, second = found.tasks
        axis.set(title=title, xlabel=f"α of {first}", ylabel=f"α of {second}", box_aspect=1)
        axis.locator_params(nbins=4)
        axis.grid(False)
    label = "disentanglement error ξ (0 to 2)"
    figure.colorbar(filled, ax=axes, label=label, shrink=0.9, format="%.1f")
    return figure
