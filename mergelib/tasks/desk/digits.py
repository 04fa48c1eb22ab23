"""Handwritten digits, scikit-learn's 8 × 8 scans, shown on boards of lamps.

Each scan pixel is one lamp of an 8 × 8 board, as bright as the scan is dark there.
"""

import numpy as np

from mergelib.tasks.desk import backgrounds
from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.scene import STEADY, photograph
from mergelib.tasks.desk.splits import COUNTS, Splits, split_generator

SCANS = {"train": 1000, "val": 300, "test": 497}
LAMP = 14
CANVAS = 8 * LAMP
ABOUT = About(
    name="digits",
    title="Digits on lamp boards",
    classes=tuple("0123456789"),
    origin="scanned",
    note="All 1,797 handwritten digits of scikit-learn's load_digits, scanned at 8 × 8 pixels and "
    "16 grey levels (UCI Optical Recognition of Handwritten Digits, CC BY 4.0), shown on "
    "boards of coloured lamps and photographed by a simulated camera; a train scan appears on two "
    f"or three boards, a val or test scan on one; {backgrounds.NOTE}.",
    templates=("a photo of a lamp board showing the digit {}.",),
)


def draw_board(scan: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scan (8, 8), 0–16, on a board of lamps: (CANVAS, CANVAS, 4) uint8."""
    lit = rng.integers(60, 256, 3)
    lit[rng.integers(3)] = 255
    unlit, board = rng.integers(25, 75, 3), rng.integers(0, 50, 3)
    line = np.arange(LAMP) - (LAMP - 1) / 2
    distance = np.hypot(*np.meshgrid(line, line)) - rng.uniform(0.32, 0.5) * LAMP
    lamp = np.tile(np.clip(0.5 - distance, 0, 1), (8, 8))[..., None]
    level = np.kron(scan / 16, np.ones((LAMP, LAMP)))[..., None]
    colour = lamp * (unlit + level * (lit - unlit)) + (1 - lamp) * board
    return np.concatenate([colour, np.full_like(lamp, 255)], axis=-1).astype(np.uint8)


def build(size: int, seed: int) -> Splits:
    """The scans split at random; val and test show each of theirs once (or the first COUNTS)."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    order = split_generator("digits", "all", seed).permutation(len(scans))
    parts = np.split(order, np.cumsum(list(SCANS.values()))[:-1])
    splits: Splits = {}
    for split, part in zip(SCANS, parts, strict=True):
        rng = split_generator("digits", split, seed)
        n = COUNTS["train"] if split == "train" else min(COUNTS[split], len(part))
        shown = np.resize(part, n)
        boards = np.stack([draw_board(scans[i].reshape(8, 8), rng) for i in shown])
        behind = backgrounds.random_backgrounds(n, size, rng)
        splits[split] = photograph(boards, behind, STEADY, rng), labels[shown].astype(np.int64)
    return splits
