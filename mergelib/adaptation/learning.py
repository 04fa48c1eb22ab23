"""The settings of a run on unlabelled inputs, and of how it is watched."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import pandas as pd

from mergelib.words import unknown

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Learning:
    """How a method learns on unlabelled inputs; whatever stands here may change the result.

    `steps` steps of Adam at rate `lr`, each on `batch` inputs of every task, from streams over
    `split` in the order of `seed`. split="val" adapts on other inputs than those reported on
    (inductive), "test" on those themselves (transductive, as the papers do).

    `cosine`: step t of n has the rate lr · (1 + cos(π t / n)) / 2, t = 0 … n − 1. `together`: the
    batches of all tasks are one pass, which suits small models; else the tasks have their turn one
    after the other, so that only one batch's activations are in memory.
    """

    steps: int = 500
    lr: float = 1e-3
    batch: int = 16
    split: str = "val"
    seed: int = 0
    cosine: bool = False
    together: bool = False


@dataclass(frozen=True)
class Watching:
    """How a run is watched and kept; nothing here changes its result.

    `evaluate` is called before the first step, after every `every`-th and after the last, and its
    table kept; every=0: never. It may read labels; nothing of it comes back to what learns.

    With `checkpoint` all that is needed to go on is written there every `save_every` steps and at
    the end; a run that finds the file goes on from it and ends as an uninterrupted one would have.

    `progress`: a bar named `title` with loss and entropy; None shows it only on a terminal.
    """

    evaluate: Callable[..., pd.DataFrame] | None = None
    every: int = 0
    checkpoint: str | Path | None = None
    save_every: int = 50
    progress: bool | None = None
    title: str | None = None


def settled(function: str, settings: Mapping[str, object], *objects: Settings) -> list[Settings]:
    """The objects with those of their fields replaced that `settings` names.

    So that a caller may write `adamerging(bench, tv, steps=100)` for
    `adamerging(bench, tv, learning=Learning(steps=100))`. Raises TypeError for a name that is a
    field of none of them; `function` is what it calls the function.
    """
    owners = {field.name: place for place, o in enumerate(objects) for field in fields(o)}
    changes: list[dict[str, object]] = [{} for _ in objects]
    for name, value in settings.items():
        if name not in owners:
            raise TypeError(unknown("setting", name, owners, function))
        changes[owners[name]][name] = value
    return [replace(o, **change) for o, change in zip(objects, changes, strict=True)]
