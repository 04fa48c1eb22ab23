"""Suites of tasks: `pico` (tests), `desk` (default) and `text` of texts, `vision-desk` and `vision`
of images. `text` and `vision` are real benchmarks, small; the desks come with the packages."""

import json

import torch

from mergelib.cache import storage
from mergelib.models.inputs import from_tensors
from mergelib.suites.spec import Spec, spec_of, specs
from mergelib.suites.suite import SPLITS, Split, Suite, Task

__all__ = [
    "SPLITS",
    "Spec",
    "Split",
    "Suite",
    "Task",
    "load_suite",
    "spec_of",
    "specs",
    "suite_key",
]


def suite_key(name: str) -> str:
    """A key of everything that decides the suite's pixels, labels and splits."""
    return spec_of(name).builder.key()


def load_suite(name: str) -> Suite:
    """The suite called `name`, from the cache, or built and cached if it is not there.

    Raises ValueError for an unknown name or a suite whose tasks are not those of its SPEC;
    FileNotFoundError where `vision` or `text` lacks its data.
    """
    spec = spec_of(name)
    builder = spec.builder
    stem = storage.cache_folder() / "suites" / f"{name}-{builder.key()}"
    pixels, about = stem.with_suffix(".safetensors"), stem.with_suffix(".json")
    if not (pixels.exists() and about.exists()):
        built = builder.build()
        if built.names != spec.tasks:
            raise ValueError(
                f"the SPEC of suite {name!r} names the tasks {', '.join(spec.tasks)}; "
                f"{spec.module} builds {', '.join(built.names)}"
            )
        _write(built, pixels, about)
    return _read(pixels, about)


def _write(suite: Suite, pixels, about) -> None:
    from safetensors.torch import save_file

    tensors = {
        f"{task.name}/{split}/{kind}": tensor.contiguous()
        for task in suite
        for split in SPLITS
        for kind, tensor in _parts(task.split(split)).items()
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


def _parts(split: Split) -> dict[str, torch.Tensor]:
    return {**split.inputs.tensors(), "labels": split.labels}


def _read(pixels, about) -> Suite:
    from safetensors.torch import load_file

    texts, tensors = json.loads(about.read_text(encoding="utf-8")), load_file(pixels)
    tasks = {}
    for name, text in texts["tasks"].items():
        splits = {}
        for split in SPLITS:
            here = f"{name}/{split}/"
            parts = {k.removeprefix(here): t for k, t in tensors.items() if k.startswith(here)}
            parts = {kind: torch.clone(tensor) for kind, tensor in parts.items()}
            labels = parts.pop("labels")
            splits[split] = Split(from_tensors(parts), labels)
        text = {**text, "classes": tuple(text["classes"]), "templates": tuple(text["templates"])}
        tasks[name] = Task(**text, **splits)
    return Suite(texts["name"], texts["size"], tasks)
