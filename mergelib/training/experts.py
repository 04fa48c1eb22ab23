"""Heads and experts of a suite: made once, kept in the cache under a key of their origin."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mergelib.cache import keys, storage
from mergelib.evaluation import encode
from mergelib.models.compute import number_format, resolve_device
from mergelib.models.heads import Head, linear_probe, zero_shot_head
from mergelib.suites import Suite, spec_of, suite_key
from mergelib.suites.bases import base_file, base_of, load_encoder
from mergelib.suites.recipe import FineTuning
from mergelib.training.finetune import fine_tune
from mergelib.vectors.task_vectors import TaskVectors

HEADS_ARE_MADE_BY = ("mergelib.models.heads", "mergelib.evaluation")
EXPERTS_ARE_MADE_BY = ("mergelib.training.finetune",)
SUITES = ("mergelib.suites",)  # the suite's own key speaks for its inputs


def heads_file(suite: Suite, device="auto", precision: str = "auto") -> Path:
    """Where the heads lie: the name holds a key of inputs, base, code and number format.

    The format is what `precision` means on `device`, so that "auto" is another file on a machine
    that computes otherwise.
    """
    key = storage.key_of(
        suite=suite_key(suite.name),
        base=base_of(suite.name).key(),
        heads=spec_of(suite.name).heads,
        format=number_format(resolve_device(device), precision),
        made_by=_code(suite, HEADS_ARE_MADE_BY),
    )
    return storage.cache_folder() / "heads" / f"{suite.name}-{key}.safetensors"


def load_heads(suite: Suite, device="auto", precision: str = "auto") -> dict[str, Head]:
    """One head a task, of the kind that the suite's Spec names, made once and cached."""
    path = heads_file(suite, device, precision)
    if not path.exists():
        make = {"probe": probe_heads, "zero-shot": zero_shot_heads}[spec_of(suite.name).heads]
        tensors = {}
        for name, head in make(suite, resolve_device(device), precision).items():
            tensors[f"{name}/weight"], tensors[f"{name}/bias"] = head.weight, head.bias
        with storage.atomic(path) as temporary:
            save_file(tensors, temporary)
    tensors = load_file(path)
    return {n: Head(tensors[f"{n}/weight"], tensors[f"{n}/bias"]) for n in suite.names}


def probe_heads(suite: Suite, device: torch.device, precision: str = "auto") -> dict[str, Head]:
    """Linear probes of the frozen base's features."""
    encoder, heads = load_encoder(suite.name, device=device), {}
    for task in suite:
        f = [encode(encoder, s.inputs, precision=precision).cpu() for s in (task.train, task.val)]
        heads[task.name] = linear_probe(
            f[0], task.train.labels, f[1], task.val.labels, len(task.classes)
        )
    return heads


def zero_shot_heads(suite: Suite, device: torch.device, precision: str = "auto") -> dict[str, Head]:
    """The base's own embeddings of the class names in the tasks' templates: no label is used."""
    base = base_of(suite.name)
    encode_text = base.text_encoder(device, precision)
    return {
        task.name: zero_shot_head(encode_text, task.classes, task.templates, base.logit_scale).to(
            "cpu"
        )
        for task in suite
    }


def _code(suite: Suite, modules: tuple[str, ...]) -> str:
    return keys.computation_key((*base_of(suite.name).modules, *modules), cut=SUITES)


def recipe_of(suite: Suite, seed: int = 0, device="auto", precision: str = "auto") -> FineTuning:
    """The suite's recipe with the run's seed and the number format that the run has."""
    found = number_format(resolve_device(device), precision)
    return replace(spec_of(suite.name).recipe, seed=seed, precision=found)


def expert_file(
    suite: Suite, task: str, seed: int = 0, device="auto", precision: str = "auto"
) -> Path:
    """Where the expert lies: its name holds a key of base, data, code and the run's recipe."""
    key = storage.key_of(
        start=heads_file(suite, device, precision).name,
        recipe=asdict(recipe_of(suite, seed, device, precision)),
        made_by=_code(suite, EXPERTS_ARE_MADE_BY),
    )
    return storage.cache_folder() / "experts" / suite.name / f"{task}-{key}.safetensors"


def train_expert(
    suite: Suite,
    task: str,
    seed: int = 0,
    device="auto",
    report: Callable[[dict], None] | None = None,
    precision: str = "auto",
) -> Path:
    """The expert of one task, trained unless it is in the cache; interrupted runs go on.

    Beside the weights lies the history of the run (one record an epoch, JSON).
    """
    path = expert_file(suite, suite[task].name, seed, device, precision)
    if path.exists():
        return path
    encoder = load_encoder(suite.name, device=resolve_device(device))
    partial = path.with_suffix(".partial")
    recipe = recipe_of(suite, seed, device, precision)
    head = load_heads(suite, device, precision)[task]
    frozen = base_of(suite.name).frozen()
    weights, history = fine_tune(encoder, head, suite[task], recipe, partial, report, frozen)
    with storage.atomic(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps({"recipe": asdict(recipe), "epochs": history}, indent=1))
    with storage.atomic(path) as temporary:
        save_file({k: v.contiguous() for k, v in weights.items()}, temporary)
    partial.unlink(missing_ok=True)
    return path


def training_history(
    suite: Suite, task: str, seed: int = 0, device="auto", precision: str = "auto"
) -> list[dict]:
    """The epochs of an expert's run: epoch, loss, val_accuracy, seconds."""
    path = expert_file(suite, task, seed, device, precision).with_suffix(".json")
    return json.loads(path.read_text())["epochs"]


def load_task_vectors(
    suite: Suite, seed: int = 0, device="auto", precision: str = "auto"
) -> TaskVectors:
    """The suite's task vectors; experts that are not in the cache are trained first."""
    files = {
        name: train_expert(suite, name, seed, device, precision=precision) for name in suite.names
    }
    frozen = base_of(suite.name).frozen()
    tv = TaskVectors.from_files(base_file(suite.name), files, ignore=frozen)
    return tv.to(resolve_device(device))
