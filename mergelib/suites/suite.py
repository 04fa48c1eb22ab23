"""What a task is, and a suite of tasks: images with labels, cut into fixed splits."""

from dataclasses import dataclass

import pandas as pd
import torch

from mergelib.words import unknown

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Images (N, 3, H, W) uint8 with their labels (N,) int64."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, n: int) -> "Split":
        """The first n images (the splits are shuffled, so this is a random subset)."""
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True)
class Task:
    """A classification task.

    `origin` says in a word or two where the pixels come from (scanned, photographed,
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

    def split(self, name: str) -> Split:
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}: the splits are {', '.join(SPLITS)}")
        return getattr(self, name)


def check_split(task: str, name: str, split: Split, classes: int) -> None:
    """Raises ValueError naming task and split if images and labels do not fit together."""
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"task {task!r}, {name}: images must be uint8 (N, 3, H, W), "
            f"not {images.dtype} {tuple(images.shape)}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"task {task!r}, {name}: labels must be int64 ({len(images)},), "
            f"not {labels.dtype} {tuple(labels.shape)}"
        )
    if len(labels) == 0:
        raise ValueError(f"task {task!r}, {name}: no images")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(
            f"task {task!r}, {name}: labels run from {int(labels.min())} to "
            f"{int(labels.max())}, but there are {classes} classes"
        )


@dataclass(frozen=True)
class Suite:
    """Tasks that are learnt from one base and merged; `size` is the images' side in pixels."""

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
        """One row a task: title, where its pixels come from, classes and images of each split."""
        rows = {
            task.name: {
                "task": task.title,
                "pixels": task.origin,
                "classes": len(task.classes),
                **{split: len(task.split(split)) for split in SPLITS},
            }
            for task in self
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def subset(self, names) -> "Suite":
        return Suite(self.name, self.size, {name: self[name] for name in names})
