"""What a task is, and a suite of tasks: inputs with labels, cut into fixed splits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd
import torch

from mergelib.models.inputs import Inputs, as_inputs
from mergelib.words import unknown

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Inputs with their labels (N,) int64; a tensor in their place is taken for pixels."""

    inputs: Inputs
    labels: torch.Tensor

    def __post_init__(self):
        object.__setattr__(self, "inputs", as_inputs(self.inputs))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, n: int | None) -> "Split":
        """The first n inputs (the splits are shuffled, so this is a random subset); all if None."""
        return Split(self.inputs[:n], self.labels[:n])


@dataclass(frozen=True)
class Task:
    """A classification task.

    `origin` says in a word or two where the inputs come from (scanned, photographed,
    rendered, ...), `note` in a sentence. `templates` turn a class name into a caption, with
    `{}` in the place of the name.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    templates: tuple[str, ...]
    origin: str
    note: str
    train: Split
    val: Split
    test: Split

    def __post_init__(self):
        for split in SPLITS:
            check_split(self.name, split, getattr(self, split), len(self.classes))

    @classmethod
    def described(cls, about: object, splits: Mapping[str, Split]) -> "Task":
        """The task whose name, title, classes, templates, origin and note `about` has."""
        own = ("name", "title", "classes", "templates", "origin", "note")
        return cls(**{field: getattr(about, field) for field in own}, **splits)

    def split(self, name: str) -> Split:
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}: the splits are {', '.join(SPLITS)}")
        return getattr(self, name)


def check_split(task: str, name: str, split: Split, classes: int) -> None:
    """Raises ValueError naming task and split if inputs and labels do not fit together."""
    inputs, labels = split.inputs, split.labels
    problem = inputs.problem()
    if problem is not None:
        raise ValueError(f"task {task!r}, {name}: {problem}")
    if labels.dtype != torch.int64 or labels.shape != (len(inputs),):
        raise ValueError(
            f"task {task!r}, {name}: labels must be int64 ({len(inputs)},), "
            f"not {labels.dtype} {tuple(labels.shape)}"
        )
    if len(labels) == 0:
        raise ValueError(f"task {task!r}, {name}: no {inputs.noun}s")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"task {task!r}, {name}: labels run from {int(labels.min())} to "
            f"{int(labels.max())}, but there are {classes} classes"
        )


@dataclass(frozen=True)
class Suite:
    """Tasks that are learnt from one base and merged; `size` is the images' side in pixels, or
    the most tokens that a text has."""

    name: str
    size: int
    tasks: dict[str, Task]

    def __getitem__(self, name: str) -> Task:
        if name not in self.tasks:
            raise KeyError(unknown("task", name, self.tasks, f"suite {self.name!r}"))
        return self.tasks[name]

    def __iter__(self):
        return iter(self.tasks.values())

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.tasks)

    def table(self) -> pd.DataFrame:
        """One row a task: title, origin of its inputs, classes and inputs of each split."""
        rows = {
            task.name: {
                "task": task.title,
                "origin": task.origin,
                "classes": len(task.classes),
                **{split: len(task.split(split)) for split in SPLITS},
            }
            for task in self
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def subset(self, names) -> "Suite":
        return Suite(self.name, self.size, {name: self[name] for name in names})

    def reporting(self, most: int | None) -> "Suite":
        """The suite with at most the first `most` test inputs of each task; all if None.

        Raises ValueError for `most` below 1.
        """
        if most is not None and most < 1:
            raise ValueError(f"a suite needs at least one test input a task, not {most}")
        tasks = {
            name: replace(task, test=task.test.take(most)) for name, task in self.tasks.items()
        }
        return Suite(self.name, self.size, tasks)
