"""Model merging: one model from many experts that were fine-tuned from the same base.

    import mergelib as ml

    experts = {"svhn": "svhn.safetensors", "mnist": "mnist.safetensors"}
    tv = ml.TaskVectors.from_files("base.safetensors", experts)
    merged = ml.merging.task_arithmetic(tv, scale=0.3)
    tv.layout.save(merged, "merged.safetensors")

Importing the package loads torch and nothing heavier; encoders, tasks and figures are imported
by the modules that need them, `ml.Bench`, `ml.adaptation` and `ml.mixtures` when they are first
used.
"""

import importlib

from mergelib import merging, methods
from mergelib.vectors.checkpoint import CheckpointError
from mergelib.vectors.layout import Layout
from mergelib.vectors.task_vectors import TaskVectors

__all__ = [
    "Bench",
    "CheckpointError",
    "Layout",
    "TaskVectors",
    "adaptation",
    "merging",
    "methods",
    "mixtures",
]


def __getattr__(name: str) -> object:
    if name in ("adaptation", "mixtures"):
        return importlib.import_module(f"mergelib.{name}")
    if name == "Bench":
        return importlib.import_module("mergelib.adaptation.bench").Bench
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
