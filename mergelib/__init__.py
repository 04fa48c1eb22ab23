"""Model merging: one model from many experts that were fine-tuned from the same base.

    import mergelib as ml

    experts = {"svhn": "svhn.safetensors", "mnist": "mnist.safetensors"}
    tv = ml.TaskVectors.from_files("base.safetensors", experts)
    merged = ml.merging.task_arithmetic(tv, scale=0.3)
    tv.layout.save(merged, "merged.safetensors")

Importing the package loads nothing else; what it offers is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mergelib import adaptation, merging, methods, mixtures
    from mergelib.adaptation.bench import Bench
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
DEFINED_IN = {
    "Bench": "mergelib.adaptation.bench",
    "CheckpointError": "mergelib.vectors.checkpoint",
    "Layout": "mergelib.vectors.layout",
    "TaskVectors": "mergelib.vectors.task_vectors",
}


def __getattr__(name: str) -> object:
    if name in DEFINED_IN:
        return getattr(importlib.import_module(DEFINED_IN[name]), name)
    if name in __all__:
        return importlib.import_module(f"mergelib.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
