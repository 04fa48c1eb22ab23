"""The images that the base is pre-trained on: several labelled sets, joined."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mergelib.suites.parquet import class_names, decode, load_rows

SOURCES = ("tiny_imagenet", "cifar100", "caltech101")


@dataclass(frozen=True)
class LabelledImages:
    """uint8 images (N, 3, H, W), joint labels (N,), and the class range of each image's set."""

    images: torch.Tensor
    labels: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor

    @property
    def classes(self) -> int:
        return int(self.last.max())

    def take(self, index: torch.Tensor) -> "LabelledImages":
        parts = (self.images, self.labels, self.first, self.last)
        return LabelledImages(*(part[index] for part in parts))


def load_sources(folder: Path, split: str, size: int) -> LabelledImages:
    """Read the `SOURCES` of one split; labels are offset so that no two data sets share one."""
    images, labels, first, last, offset = [], [], [], [], 0
    for name in SOURCES:
        rows = load_rows(folder / name, split)
        pixels, y = decode(rows, size)
        y = y + offset
        images.append(pixels)
        labels.append(y)
        first.append(torch.full_like(y, offset))
        offset += len(class_names(rows))
        last.append(torch.full_like(y, offset))
    return LabelledImages(*(torch.cat(parts) for parts in (images, labels, first, last)))
