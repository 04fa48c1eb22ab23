"""Seeds, sizes and labels of a task's three splits."""

import zlib
from collections.abc import Callable

import numpy as np

COUNTS = {"train": 2000, "val": 500, "test": 1000}
Splits = dict[str, tuple[np.ndarray, np.ndarray]]


def split_generator(task: str, split: str, seed: int) -> np.random.Generator:
    """A random generator of its own for each (task, split, seed)."""
    return np.random.default_rng([seed, zlib.crc32(f"{task}/{split}".encode())])


def balanced_labels(n: int, n_classes: int, rng: np.random.Generator) -> np.ndarray:
    """n labels in random order, every class n // n_classes times or once more. (n,) int64."""
    return rng.permutation(np.arange(n, dtype=np.int64) % n_classes)


def rendered_splits(
    task: str,
    n_classes: int,
    render: Callable[[np.ndarray, int, np.random.Generator], np.ndarray],
    size: int,
    seed: int,
) -> Splits:
    """All three splits of a rendered task.

    `render(labels, size, rng)` returns (n, size, size, 3) uint8. Nothing but the class list is
    shared by two splits, since each has its own random numbers.
    """
    splits = {}
    for split, count in COUNTS.items():
        rng = split_generator(task, split, seed)
        labels = balanced_labels(count, n_classes, rng)
        splits[split] = (render(labels, size, rng), labels)
    return splits
