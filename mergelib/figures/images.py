"""Pictures of the tasks."""

import matplotlib.pyplot as plt
import numpy as np

from mergelib.figures.style import WIDTH
from mergelib.tasks.suite import Suite


def contact_sheet(suite: Suite, columns: int = 12, split: str = "test"):
    """One row of `columns` images a task, of as many classes as possible; returns the figure."""
    size, tasks = suite.size, list(suite)
    height = WIDTH / columns * len(tasks) * 1.28
    figure, axes = plt.subplots(len(tasks), 1, figsize=(WIDTH, height), squeeze=False)
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        data = task.split(split)
        picks = _one_each(data.labels.numpy(), columns)
        strip = data.images[picks].permute(2, 0, 3, 1).reshape(size, len(picks) * size, 3)
        axis.imshow(strip.numpy(), interpolation="nearest")
        axis.set_title(f"{task.title}: {task.origin}, {len(task.classes)} classes", loc="left")
        axis.set_xticks([]), axis.set_yticks([])
        axis.spines[:].set_visible(False)
        axis.grid(False)
        for k in range(1, len(picks)):
            axis.axvline(k * size - 0.5, color="white", linewidth=1.5)
    return figure


def _one_each(labels: np.ndarray, n: int) -> np.ndarray:
    """Indices of n images: the first of each class, evenly over the classes, then the next."""
    classes = np.unique(labels)
    chosen = classes[np.linspace(0, len(classes) - 1, min(n, len(classes))).round().astype(int)]
    rounds = -(-n // len(chosen))
    picks = [np.flatnonzero(labels == c)[r] for r in range(rounds) for c in chosen]
    return np.array(picks[:n])
