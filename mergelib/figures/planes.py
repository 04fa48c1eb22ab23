"""The loss in the plane of two task vectors."""

import matplotlib.pyplot as plt
import numpy as np

from mergelib.figures.style import BLACK, WIDTH, method_style


def loss_plane(plane, points=None):
    """Contours of the mean loss of two tasks over (α₁, α₂), one panel a task and one for both.

    `plane` is a `mergelib.analysis.planes.LossPlane`; `points` maps a label to the (α₁, α₂)
    of a marked model, or to several, and the name of its style. Returns the figure.
    """
    both = plane.loss.mean(axis=0)
    panels = [*plane.loss, both]
    titles = [*(f"loss of {t}" for t in plane.tasks), "mean of the two"]
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.75), sharex=True, sharey=True)
    top = float(np.quantile(plane.loss, 0.9))
    levels = np.linspace(float(plane.loss.min()), top, 13)
    for axis, values, title in zip(axes, panels, titles, strict=True):
        filled = axis.contourf(
            plane.alphas, plane.alphas, values.T, levels=levels, extend="max", cmap="cividis_r"
        )
        axis.set(title=title, xlabel=f"α of {plane.tasks[0]}")
        for label, (where, style) in (points or {}).items():
            look = method_style(style)
            axis.plot(
                *np.atleast_2d(where).T,
                markeredgecolor="white",
                markeredgewidth=0.7,
                linestyle="",
                clip_on=False,
                label=label,
                **look,
            )
        axis.plot([0, 1, 1, 0, 0], [0, 0, 1, 1, 0], color=BLACK, linewidth=0.6, linestyle=":")
        axis.grid(False)
    axes[0].set_ylabel(f"α of {plane.tasks[1]}")
    figure.colorbar(filled, ax=axes, label="cross-entropy (nats)", shrink=0.9, format="%.1f")
    if points:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(points))
    return figure
