"""What an axis shows, for tests of figures."""

import numpy as np


def lines(axis):
    """label → (x, y) of the labelled lines of an axis."""
    found = {line.get_label(): line.get_data() for line in axis.lines}
    return {k: tuple(map(np.asarray, v)) for k, v in found.items() if not k.startswith("_")}
