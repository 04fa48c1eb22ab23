"""The heat map of the book: one look for accuracies, cosines, coefficients, masks and routes."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mergelib.figures.style import DIVERGING, SEQUENTIAL

FONT = 7.5


def heatmap(
    axis: plt.Axes,
    table: pd.DataFrame,
    limits: tuple[float, float] | None = None,
    diverging: bool = False,
    numbers: str = "",
    rotation: float = 35,
    size: float | None = None,
):
    """Draw the cells of a table on an axis, its first row on top; returns what a colour bar needs.

    Colours go from the first to the second of `limits` (default: the table's least and greatest
    number); `diverging` ones are white in the middle. A cell without a number (NaN) stays empty.
    `numbers` is the format of the number that is written in each cell, in black or white as its
    colour asks ("" for none). Names of columns are turned by `rotation` degrees; `size` is that of
    the names in points.
    """
    import seaborn as sns  # with what it needs two seconds, which chapters wait for only once

    low, high = limits or (None, None)
    axis.grid(False)
    sns.heatmap(
        table,
        ax=axis,
        vmin=low,
        vmax=high,
        cmap=DIVERGING if diverging else SEQUENTIAL,
        annot=bool(numbers),
        fmt=numbers,
        annot_kws={"fontsize": FONT},
        cbar=False,
        xticklabels=False,
        yticklabels=False,
    )
    # Placed here and not by seaborn, which leaves some out and turns others as it sees fit.
    rows, columns = (0.5 + np.arange(count) for count in table.shape)
    turned = {"rotation": rotation, "ha": "right" if rotation else "center"}
    axis.set_xticks(columns, table.columns, fontsize=size, **turned)
    axis.set_yticks(rows, table.index, fontsize=size)
    axis.set(xlabel="", ylabel="")
    return axis.collections[0]
