"""The style of every figure, and the one colour and marker of each method of the registry.

Most colours are Okabe and Ito's, told apart with the common kinds of colour blindness; markers
repeat the distinction without colour.
"""

from collections import Counter
from collections.abc import Iterable

import matplotlib as mpl

from mergelib.methods.titles import name_of

BLACK, GREY = "#000000", "#7f7f7f"
ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#d9c400"
BLUE, VERMILION, PURPLE, BROWN, INDIGO = "#0072b2", "#d55e00", "#cc79a7", "#8c564b", "#332288"
WINE, TEAL, OLIVE = "#882255", "#44aa99", "#808000"

METHOD_STYLES = {
    "base": (GREY, "o"),
    "expert": (BLACK, "*"),
    "average": (BROWN, "v"),
    "task_arithmetic": (BLUE, "s"),
    "ties": (ORANGE, "^"),
    "dare": (SKY, "D"),
    "awd_task_arithmetic": (GREEN, "P"),
    "consistent_task_arithmetic": (INDIGO, "<"),
    "adamerging": (PURPLE, "X"),
    "concrete_task_arithmetic": (OLIVE, "d"),
    "concrete_adamerging": (YELLOW, "h"),
    "wemoe": (VERMILION, "p"),
    "ewemoe": (WINE, "H"),
    "twin_merging": (TEAL, ">"),
}
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"
WIDTH = 7.0
LINES = ("-", "--", ":", "-.")


def method_style(key: str) -> dict:
    """Keyword arguments (color, marker) of a method's points and lines, the same everywhere.

    Variants of a method (`mergelib.methods.titles`) share its style. Raises KeyError for a method
    without one.
    """
    method = name_of(key)
    if method not in METHOD_STYLES:
        raise KeyError(f"no style for method {method!r} (known: {', '.join(METHOD_STYLES)})")
    colour, marker = METHOD_STYLES[method]
    return {"color": colour, "marker": marker, "markersize": 9 if marker == "*" else 5}


def variant_lines(keys: Iterable[str]) -> dict[str, str]:
    """A line style for each key, so that variants of one method differ: the first is solid."""
    lines, drawn = {}, Counter()
    for key in dict.fromkeys(keys):
        lines[key] = LINES[drawn[name_of(key)] % len(LINES)]
        drawn[name_of(key)] += 1
    return lines


def task_style(number: int) -> dict:
    """Keyword arguments (color, marker) of the task with this number, where tasks are drawn."""
    styles = list(METHOD_STYLES.values())
    colour, marker = styles[number % len(styles)]
    return {"color": colour, "marker": marker}


def use_style() -> None:
    """Set matplotlib up for the book: sizes in inches at 150 dpi, thin axes, no frame."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 150,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "lines.linewidth": 1.6,
            "lines.markersize": 5,
            "image.cmap": SEQUENTIAL,
        }
    )
