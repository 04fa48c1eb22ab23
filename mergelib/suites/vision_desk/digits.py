"""Handwritten digits, scikit-learn's 8 × 8 scans, on sheets of paper."""

import numpy as np

from mergelib.suites.vision_desk import sheets
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.splits import COUNTS, Splits, split_generator

SCANS = {"train": 1000, "val": 300, "test": 497}
ABOUT = About(
    name="digits",
    title="Digits (8 × 8 scans)",
    classes=tuple("0123456789"),
    origin="scanned",
    note="All 1,797 handwritten digits of scikit-learn's load_digits, scanned at 8 × 8 pixels and "
    "16 grey levels (UCI Optical Recognition of Handwritten Digits, CC BY 4.0), a train scan on "
    f"two or three sheets, a val or test scan on one, {sheets.NOTE}.",
    templates=("a coarse scan of the handwritten digit {}.",),
)


def scans_by_split(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Scans (n, 8, 8) in [0, 1] with a margin of one pixel, and their labels, for each split.

    The scans are shared out at random; those of train are repeated up to COUNTS, those of val and
    test are not.
    """
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    scans = np.pad(scans.reshape(-1, 8, 8) / 16, ((0, 0), (1, 1), (1, 1)))
    order = split_generator("digits", "all", seed).permutation(len(scans))
    parts = np.split(order, np.cumsum(list(SCANS.values()))[:-1])
    shared = {}
    for split, part in zip(SCANS, parts, strict=True):
        n = COUNTS[split] if split == "train" else min(COUNTS[split], len(part))
        shown = np.resize(part, n)
        shared[split] = scans[shown], labels[shown].astype(np.int64)
    return shared


def build(size: int, seed: int) -> Splits:
    """Every scan photographed, those of train more than once."""
    return {
        split: (sheets.photographed(scans, size, split_generator("digits", split, seed)), labels)
        for split, (scans, labels) in scans_by_split(seed).items()
    }
