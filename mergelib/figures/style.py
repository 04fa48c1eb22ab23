"""The style of every figure, and the one colour and marker of each method.

Most colours are Okabe and Ito's, told apart with the common kinds of colour blindness; markers
repeat the distinction without colour.
"""

import matplotlib as mpl

BLACK, GREY = "#000000", "#7f7f7f"
ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#d9c400"
BLUE, VERMILION, PURPLE, BROWN, INDIGO = "#0072b2", "#d55e00", "#cc79a7", "#8c564b", "#332288"
WINE, TEAL = "#882255", "#44aa99"

METHOD_STYLES = {
    "base": (GREY, "o"),
    "expert": (BLACK, "*"),
    "average": (BROWN, "v"),
    "task_arithmetic": (BLUE, "s"),
    "ties": (ORANGE, "^"),
    "dare": (SKY, "D"),
    "awd": (GREEN, "P"),
    "consistent": (INDIGO, "<"),
    "adamerging": (PURPLE, "X"),
    "concrete": (YELLOW, "h"),
    "wemoe": (VERMILION, "p"),
    "ewemoe": (WINE, "H"),
    "twin": (TEAL, ">"),
}
SEQUENTIAL, DIVERGING = "cividis", "RdBu_r"
WIDTH = 7.0


def method_style(method: str) -> dict:
    """Keyword arguments (color, marker) of a method's points and lines, the same everywhere."""
    if method not in METHOD_STYLES:
        raise KeyError(f"no style for method {method!r} (known: {', '.join(METHOD_STYLES)})")
    colour, marker = METHOD_STYLES[method]
    return {"color": colour, "marker": marker, "markersize": 9 if marker == "*" else 5}


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
