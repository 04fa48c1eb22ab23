"""What several figures do with their axes: a row for each task, a legend above."""

from collections.abc import Sequence

import matplotlib.pyplot as plt


def task_rows(axis: plt.Axes, tasks: Sequence[str]) -> None:
    """Name the rows of an axis: the first task at height 0 and on top, the others below it."""
    axis.set_yticks(range(len(tasks)), tasks)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)


def legend_above(axis: plt.Axes, columns: int, **options) -> None:
    """A legend over the axis, in `columns` columns; `options` are those of `axis.legend`."""
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, **options)
