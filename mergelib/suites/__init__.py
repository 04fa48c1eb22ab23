"""Suites of tasks: `pico` (tests), `desk` (default), `standard` (real benchmarks, small)."""

import importlib
import json

import torch

from mergelib.cache import storage
from mergelib.suites.suite import SPLITS, Split, Suite, Task
from mergelib.words import unknown

BUILDERS = {
    "pico": "mergelib.suites.pico",
    "desk": "mergelib.suites.desk.suite",
    "standard": "mergelib.suites.standard",
}

__all__ = ["BUILDERS", "SPLITS", "Split", "Suite", "Task", "load_suite", "suite_key"]


def _builder(name: str):
    if name not in BUILDERS:
        raise ValueError(unknown("suite", name, BUILDERS, "mergelib.suites"))
    return importlib.import_module(BUILDERS[name])


def suite_key(name: str) -> str:
    """A key of everything that decides the suite's pixels, labels and splits."""
    return _builder(name).key()


def load_suite(name: str) -> Suite:
    """The suite called `name`, from the cache, or built and cached if it is not there.

    Raises ValueError for an unknown name; FileNotFoundError where `standard` lacks its data.
    """
    builder = _builder(name)
    stem = storage.cache_folder() / "suites" / f"{name}-{builder.key()}"
    pixels, about = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (pixels.exists() and about.exists()):
        _write(builder.build(), pixels, about)
    return _read(pixels, about)


def _write(suite: Suite, pixels, about) -> None:
    from safetensors.torch import save_file

    tensors = {
        f"{task.name}/{split}/{kind}": getattr(task.split(split), kind).contiguous()
        for task in suite
        for split in SPLITS
        for kind in ("images", "labels")
    }
    texts = {
        task.name: {
            field: getattr(task, field)
            for field in ("name", "title", "classes", "templates", "origin", "note")
        }
        for task in suite
    }
    with storage.atomic(pixels) as path:
        save_file(tensors, path)
    with storage.atomic(about) as path:
        body = {"name": suite.name, "size": suite.size, "tasks": texts}
        path.write_text(json.dumps(body, indent=1), encoding="utf-8")


def _read(pixels, about) -> Suite:
    from safetensors.torch import load_file

    texts, tensors = json.loads(about.read_text(encoding="utf-8")), load_file(pixels)
    tasks = {}
    for name, text in texts["tasks"].items():
        splits = {
            split: Split(
                *(torch.clone(tensors[f"{name}/{split}/{k}"]) for k in ("images", "labels"))
            )
            for split in SPLITS
        }
        text = {**text, "classes": tuple(text["classes"]), "templates": tuple(text["templates"])}
        tasks[name] = Task(**text, **splits)
    return Suite(texts["name"], texts["size"], tasks)
