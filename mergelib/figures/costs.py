"""Accuracy against what it costs: shares that are kept, numbers stored, multiply-adds."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from mergelib.figures.style import BLACK, GREY, LINES, WIDTH, method_style, variant_lines
from mergelib.methods.titles import name_of, title_of


def share_curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]],
    column: str,
    label: str,
    levels: Mapping[str, Mapping[str, float]] | None = None,
):
    """Mean accuracy against a share (logarithmic), a panel a title, each with an axis of its own.

    `panels` maps a title to curves, method → table with `column` and accuracy, and with low and
    high where there is an interval; variants of one method in a panel have its colour and differ
    in their lines. Rows of share 0 are left out. `levels` maps a title to horizontals, method →
    accuracy. `label` names the share. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), squeeze=False)
    handles = {}
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        lines = variant_lines(curves)
        for key, curve in curves.items():
            shown = curve[curve[column] > 0]
            look = {**method_style(key), "markersize": 4, "linestyle": lines[key]}
            middle, bars = 100 * shown["accuracy"], None
            if "low" in shown:
                bars = [middle - 100 * shown["low"], 100 * shown["high"] - middle]
            handles[key] = axis.errorbar(shown[column], middle, yerr=bars, capsize=2, **look)
        for (key, level), line in zip((levels or {}).get(title, {}).items(), LINES, strict=False):
            look = {"color": GREY, "linewidth": 1, "linestyle": line}
            handles[key] = axis.axhline(100 * level, **look)
        _logarithmic(axis)
        axis.set(xlabel=label, ylabel="mean accuracy (%)", title=title)
    titles = [title_of(key) for key in handles]
    figure.legend(handles.values(), titles, loc="outside upper center", ncols=3)
    return figure


def cost_frontier(table: pd.DataFrame, frontiers: Mapping[str, pd.DataFrame]):
    """Mean accuracy against each column that `frontiers` names (in millions, logarithmic), a panel
    each; a line joins the rows of the frontier.

    `table` is that of `analysis.by_cost`, its index keys of methods; `frontiers` maps its columns
    to the rows that nothing beats. Variants of one method are joined by a thin line and have one
    entry in the legend. Returns the figure.
    """
    size = (WIDTH, 4.2)
    figure, axes = plt.subplots(1, len(frontiers), figsize=size, sharey=True, squeeze=False)
    handles = {}
    for axis, (column, best) in zip(axes[0], frontiers.items(), strict=True):
        line = {"color": BLACK, "linewidth": 0.8, "linestyle": ":", "drawstyle": "steps-post"}
        where = 100 * best["accuracy"]
        (handles["none better at the cost"],) = axis.plot(best[column] / 1e6, where, **line)
        for method, rows in table.groupby(name_of, sort=False):
            y = 100 * rows["accuracy"]
            bars = [y - 100 * rows["low"], 100 * rows["high"] - y]
            look = {**method_style(method), "linewidth": 0.6, "elinewidth": 1}
            bars = axis.errorbar(rows[column] / 1e6, y, yerr=bars, **look)
            handles[title_of(method)] = bars
        _logarithmic(axis)
        axis.set(xlabel=f"{column} (millions)")
    axes[0, 0].set_ylabel("mean accuracy on test (%)")
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure


def _logarithmic(axis) -> None:
    """A logarithmic x axis with plain numbers at 1, 2 and 5 of a decade, or at 1 of several."""
    low, high = axis.xaxis.get_data_interval()
    axis.set_xscale("log")
    subs = (1, 2, 5) if high < 100 * low else (1,)
    axis.xaxis.set_major_locator(LogLocator(subs=subs))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter(NullFormatter())
