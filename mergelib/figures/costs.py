"""Accuracy against what it costs: shares that are kept, numbers stored, multiply-adds."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from mergelib.figures.style import BLACK, GREY, WIDTH, method_style

LINES = ("-", "--", ":", "-.")


def share_curves(
    panels: Mapping[str, Mapping[str, pd.DataFrame]],
    methods: Mapping[str, str],
    column: str,
    label: str,
    levels: Mapping[str, Mapping[str, float]] | None = None,
):
    """Mean accuracy against a share (logarithmic), a panel a title, each with an axis of its own.

    `panels` maps a title to curves, label → table with `column` and accuracy, and with low and
    high where there is an interval; `methods` a label to the method whose colour it has (curves of
    one method in a panel differ in their lines). Rows of share 0 are left out. `levels` maps a
    title to horizontals, label → accuracy. `label` names the share. Returns the figure.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH, 3.4), squeeze=False)
    handles = {}
    for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
        drawn = []
        for name, curve in curves.items():
            shown = curve[curve[column] > 0]
            look = {**method_style(methods[name]), "markersize": 4}
            look["linestyle"] = LINES[drawn.count(methods[name]) % len(LINES)]
            drawn.append(methods[name])
            middle, bars = 100 * shown["accuracy"], None
            if "low" in shown:
                bars = [middle - 100 * shown["low"], 100 * shown["high"] - middle]
            handles[name] = axis.errorbar(shown[column], middle, yerr=bars, capsize=2, **look)
        for (name, level), line in zip((levels or {}).get(title, {}).items(), LINES, strict=False):
            look = {"color": GREY, "linewidth": 1, "linestyle": line}
            handles[name] = axis.axhline(100 * level, **look)
        _logarithmic(axis)
        axis.set(xlabel=label, ylabel="mean accuracy (%)", title=title)
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return figure


def cost_frontier(
    table: pd.DataFrame, methods: Mapping[str, str], frontiers: Mapping[str, pd.DataFrame]
):
    """Mean accuracy against each column that `frontiers` names (in millions, logarithmic), a panel
    each; a line joins the rows of the frontier.

    `table` is that of `analysis.by_cost`, `frontiers` maps its columns to the rows that nothing
    beats, `methods` an index of the table to the method whose colour and marker it has; several of
    one method are joined by a thin line and named once, by what precedes the comma. Returns the
    figure.
    """
    size = (WIDTH, 4.2)
    figure, axes = plt.subplots(1, len(frontiers), figsize=size, sharey=True, squeeze=False)
    handles = {}
    for axis, (column, best) in zip(axes[0], frontiers.items(), strict=True):
        line = {"color": BLACK, "linewidth": 0.8, "linestyle": ":", "drawstyle": "steps-post"}
        where = 100 * best["accuracy"]
        (handles["none better at the cost"],) = axis.plot(best[column] / 1e6, where, **line)
        for method in dict.fromkeys(methods[name] for name in table.index):
            rows = table[[methods[name] == method for name in table.index]]
            y = 100 * rows["accuracy"]
            bars = [y - 100 * rows["low"], 100 * rows["high"] - y]
            look = {**method_style(method), "linewidth": 0.6, "elinewidth": 1}
            name = rows.index[0].partition(",")[0]
            handles[name] = axis.errorbar(rows[column] / 1e6, y, yerr=bars, **look)
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
