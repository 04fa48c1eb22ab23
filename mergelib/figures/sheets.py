"""The inputs of the tasks, to be looked at."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import torch

from mergelib.figures.style import WIDTH
from mergelib.models.inputs import Tokens
from mergelib.suites import spec_of
from mergelib.suites.suite import Suite, Task

CHARACTERS = 64  # of a text in a sheet


def contact_sheet(suite: Suite, split: str = "test"):
    """Inputs of each task, of as many classes as possible, under a title that says where they come
    from; a figure. Of images two rows, of texts three, each with its class."""
    if isinstance(next(iter(suite)).split(split).inputs, Tokens):
        return _texts(suite, split, count=3)
    return _images(suite, split, columns=14, rows=2)


def _title(axis, task: Task) -> None:
    title = f"{task.title} ({task.origin}, {len(task.classes)} classes)"
    axis.set_title(title, loc="left", fontweight="bold")
    axis.set_axis_off()


def _images(suite: Suite, split: str, columns: int, rows: int):
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
        _title(axis, task)
    return figure


def _texts(suite: Suite, split: str, count: int):
    tasks, base = list(suite), spec_of(suite.name).base
    height = 0.19 * (count + 1.6) * len(tasks)
    figure, axes = plt.subplots(len(tasks), 1, figsize=(WIDTH, height), squeeze=False)
    for axis, task in zip(axes[:, 0], tasks, strict=True):
        data = task.split(split)
        picks = torch.from_numpy(one_each(data.labels.numpy(), count))
        texts = base.texts(data.inputs[picks])
        for row, (text, label) in enumerate(zip(texts, data.labels[picks].tolist(), strict=True)):
            y = 1 - (row + 0.5) / count
            axis.text(0, y, textwrap.shorten(text, CHARACTERS, placeholder=" …"), va="center")
            name = textwrap.shorten(task.classes[label], 34, placeholder=" …")
            axis.text(1, y, name, va="center", ha="right", style="italic")
        _title(axis, task)
    return figure


def one_each(labels: np.ndarray, n: int) -> np.ndarray:
    """Indices of n inputs: the first of each class, evenly over the classes, then the next."""
    classes = np.unique(labels)
    chosen = classes[np.linspace(0, len(classes) - 1, min(n, len(classes))).round().astype(int)]
    rounds = -(-n // len(chosen))
    picks = [np.flatnonzero(labels == c)[r] for r in range(rounds) for c in chosen]
    return np.array(picks[:n])
