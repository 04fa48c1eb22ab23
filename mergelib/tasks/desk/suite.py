"""The `desk` suite: the eight generators' images as a suite, with a key of what made them."""

import importlib.metadata
from pathlib import Path

import torch

from mergelib import storage
from mergelib.tasks.desk import GENERATORS, SIZE
from mergelib.tasks.suite import SPLITS, Split, Suite, Task

SEED = 0
PIXEL_SOURCES = (
    "numpy",
    "scipy",
    "pillow",
    "scikit-learn",
    "scikit-image",
    "mlxtend",
    "matplotlib",
)


def key() -> str:
    code = sorted(Path(__file__).parent.glob("*.py"))
    versions = {name: importlib.metadata.version(name) for name in PIXEL_SOURCES}
    return storage.key_of(code=storage.key_of_files(code), versions=versions, seed=SEED)


def build() -> Suite:
    """All eight tasks, in the book's order."""
    return Suite("desk", SIZE, {name: _task(generator) for name, generator in GENERATORS.items()})


def _task(generator) -> Task:
    about = generator.ABOUT
    arrays = generator.build(SIZE, SEED)
    splits = {}
    for split in SPLITS:
        images, labels = arrays[split]
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        splits[split] = Split(pixels, torch.from_numpy(labels))
    return Task(
        name=about.name,
        title=about.title,
        classes=about.classes,
        templates=about.templates,
        origin=about.origin,
        note=about.note,
        **splits,
    )
