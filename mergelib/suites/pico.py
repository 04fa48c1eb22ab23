"""The `pico` suite: three tiny tasks, made or cut in milliseconds, for tests and CI.

`digits` are scikit-learn's scans (real pixels), `bars` and `spots` are drawn. The images are
16 × 16; an encoder of a few thousand weights learns each task in a second.
"""

import numpy as np
import torch

from mergelib.cache import storage
from mergelib.models.tower import VisionBase
from mergelib.suites.recipe import FineTuning
from mergelib.suites.spec import Spec
from mergelib.suites.suite import Split, Suite, Task

SIZE = 16
SPEC = Spec(
    name="pico",
    title="three toy tasks",
    tasks=("digits", "bars", "spots"),
    module=__name__,
    base=VisionBase("merge-vit-pico"),
    recipe=FineTuning(epochs=6, batch=32, lr=5e-3, l2sp=0.0, crop=0.7, degrees=8.0, colour=0.3),
    size=SIZE,
)
COUNTS = {"train": 240, "val": 80, "test": 120}


def key() -> str:
    return storage.key_of_files([__file__])


def build() -> Suite:
    makers = {"digits": _digits, "bars": _bars, "spots": _spots}
    return Suite(SPEC.name, SIZE, {name: make() for name, make in makers.items()})


def _splits(images: np.ndarray, labels: np.ndarray) -> dict[str, Split]:
    """Cut (N, 16, 16, 3) float images in [0, 1] into the three splits, in order."""
    pixels = torch.from_numpy((images * 255).round().astype(np.uint8)).permute(0, 3, 1, 2)
    classes, out, start = torch.from_numpy(labels.astype(np.int64)), {}, 0
    for name, n in COUNTS.items():
        out[name] = Split(pixels[start : start + n].contiguous(), classes[start : start + n])
        start += n
    return out


def _digits() -> Task:
    from sklearn.datasets import load_digits

    scans = load_digits(n_class=5)
    order = np.random.default_rng(0).permutation(len(scans.target))[: sum(COUNTS.values())]
    grey = np.kron(scans.images[order] / 16, np.ones((2, 2)))
    images = np.repeat(grey[..., None], 3, axis=-1)
    return Task(
        name="digits",
        title="Digits 0–4",
        classes=tuple("01234"),
        templates=('a photo of the number: "{}".',),
        origin="scanned",
        note="Digits of scikit-learn (8 × 8 scans, doubled).",
        **_splits(images, scans.target[order]),
    )


def _bars() -> Task:
    """Bright bars at one of four angles, with random phase, colour and noise."""
    rng = np.random.default_rng(1)
    n = sum(COUNTS.values())
    labels = rng.integers(0, 4, n)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    angle = (labels * np.pi / 4 + rng.normal(0, 0.12, n))[:, None, None]
    wave = np.sin(
        2 * np.pi * 3 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6, (n, 1, 1))
    )
    colour = rng.uniform(0.3, 1.0, (n, 1, 1, 3))
    images = 0.5 + 0.35 * wave[..., None] * colour + rng.normal(0, 0.12, (n, SIZE, SIZE, 3))
    return Task(
        name="bars",
        title="Bars",
        classes=("vertical", "falling", "horizontal", "rising"),
        templates=("a photo of {} bars.",),
        origin="rendered",
        note="Sinusoidal bars with noise.",
        **_splits(images.clip(0, 1), labels),
    )


def _spots() -> Task:
    """A soft spot in one of the four quarters of the image, on noise."""
    rng = np.random.default_rng(2)
    n = sum(COUNTS.values())
    labels = rng.integers(0, 4, n)
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    centre = 0.25 + 0.5 * np.stack([labels % 2, labels // 2], axis=1) + rng.normal(0, 0.05, (n, 2))
    distance = (x - centre[:, 0, None, None]) ** 2 + (y - centre[:, 1, None, None]) ** 2
    spot = np.exp(-distance / 0.02)[..., None] * rng.uniform(0.3, 0.8, (n, 1, 1, 3))
    images = 0.2 + spot + rng.normal(0, 0.15, (n, SIZE, SIZE, 3))
    return Task(
        name="spots",
        title="Spots",
        classes=("upper left", "upper right", "lower left", "lower right"),
        templates=("a photo of a spot in the {}.",),
        origin="rendered",
        note="One soft spot on noise.",
        **_splits(images.clip(0, 1), labels),
    )
