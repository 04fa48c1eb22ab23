"""Pictures of the tasks."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from mergelib.figures.style import WIDTH
from mergelib.suites.suite import Suite


def contact_sheet(suite: Suite, columns: int = 14, rows: int = 2, split: str = "test"):
    """`rows` × `columns` images of each task, of as many classes as possible; a figure."""
    tasks = list(suite)
    height = WIDTH / columns * len(tasks) * (rows + 0.35)
    figure, axes = plt.subplots(len(tasks), 1, figsize=(WIDTH, height), squeeze=False)
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        data = task.split(split)
        picks = one_each(data.labels.numpy(), rows * columns)
        tiles = data.inputs[torch.from_numpy(picks)].pictures().numpy()
        framed = np.pad(tiles, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)
        grid = framed.reshape(rows, columns, *framed.shape[1:]).swapaxes(1, 2)
        side = suite.size + 2
        axis.imshow(grid.reshape(rows * side, columns * side, 3), interpolation="nearest")
        axis.set_title(f"{task.title} ({task.origin}, {len(task.classes)} classes)", loc="left")
        axis.set_axis_off()
    return figure


def one_each(labels: np.ndarray, n: int) -> np.ndarray:
    """Indices of n images: the first of each class, evenly over the classes, then the next."""
    classes = np.unique(labels)
    chosen = classes[np.linspace(0, len(classes) - 1, min(n, len(classes))).round().astype(int)]
    rounds = -(-n // len(chosen))
    picks = [np.flatnonzero(labels == c)[r] for r in range(rounds) for c in chosen]
    return np.array(picks[:n])
