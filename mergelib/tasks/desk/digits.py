"""Handwritten digits, scikit-learn's 8 × 8 scans."""

import numpy as np
from PIL import Image

from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.splits import Splits, split_generator

COUNTS = {"train": 1000, "val": 300, "test": 497}
ABOUT = About(
    name="digits",
    title="Digits (8 × 8 scans)",
    classes=tuple("0123456789"),
    origin="scanned",
    note="All 1,797 handwritten digits of scikit-learn's load_digits, scanned at 8 × 8 pixels and "
    "16 grey levels (UCI Optical Recognition of Handwritten Digits, CC BY 4.0), enlarged.",
    templates=("a coarse scan of the handwritten digit {}.",),
)


def build(size: int, seed: int) -> Splits:
    """The scans enlarged to `size` (bicubic, with a margin of one scan pixel), split at random."""
    from sklearn.datasets import load_digits

    scans, labels = load_digits(return_X_y=True)
    scans = np.pad(scans.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    grey = (scans * (255 / 16)).astype(np.uint8)
    images = np.stack(
        [Image.fromarray(g).resize((size, size), Image.Resampling.BICUBIC) for g in grey]
    )
    images = np.repeat(images[..., None], 3, axis=-1)
    order = split_generator("digits", "all", seed).permutation(len(images))
    parts = np.split(order, np.cumsum(list(COUNTS.values()))[:-1])
    return {
        split: (images[part], labels[part].astype(np.int64))
        for split, part in zip(COUNTS, parts, strict=True)
    }
