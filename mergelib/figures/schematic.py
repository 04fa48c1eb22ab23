"""The picture of the idea: one base, two arrows, one merged model.

    python -m mergelib.figures.schematic book/assets/merging.svg

A drawing, not a measurement: nothing in it comes from a model.
"""

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse

from mergelib.figures.style import BLUE, GREEN, GREY, ORANGE, use_style

EXPERTS = {
    "expert on signs": ((3.9, 0.4), -32, ORANGE),
    "expert on digits": ((0.5, 3.3), -58, GREEN),
}
SCALE = 0.5


def schematic():
    """A plane of weights with the base, two experts, their arrows and the merged model."""
    figure, axis = plt.subplots(figsize=(6.4, 3.6))
    for name, ((x, y), angle, colour) in EXPERTS.items():
        for size in (1.0, 1.7, 2.4):
            axis.add_patch(
                Ellipse((x, y), 2.5 * size, 1.2 * size, angle=angle, color=colour, alpha=0.09)
            )
        axis.annotate(
            "", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.8}
        )
        axis.plot(x, y, "*", color="black", markersize=11)
        axis.annotate(name, (x, y), (8, 6), textcoords="offset points")
    total = SCALE * np.sum([where for where, _, _ in EXPERTS.values()], axis=0)
    axis.annotate(
        "",
        total,
        (0, 0),
        arrowprops={"arrowstyle": "-|>", "color": BLUE, "lw": 2.2, "linestyle": (0, (4, 2))},
    )
    axis.plot(*total, "s", color=BLUE, markersize=9)
    axis.annotate(
        "one merged model:\nbase + λ · (sum of the arrows)",
        total,
        (14, 4),
        textcoords="offset points",
        color=BLUE,
    )
    axis.plot(0, 0, "o", color=GREY, markersize=9)
    axis.annotate("base", (0, 0), (-34, -12), textcoords="offset points", color="0.3")
    axis.set(xlim=(-2.6, 7.4), ylim=(-1.3, 4.9), aspect="equal")
    axis.set_axis_off()
    return figure


def main() -> None:
    use_style()
    mpl.rcParams["svg.hashsalt"] = "mergelib"
    schematic().savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
