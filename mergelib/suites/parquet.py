"""Labelled images and texts in the hub's layout, read by `datasets`: columns `image` or `text`,
and `label`.

One loader for a folder of parquet files and for a hub id: `source` says which.
"""

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError


def data_folder() -> Path:
    """The folder named by `$MERGELIB_DATA`; raises FileNotFoundError saying how to set it."""
    named = os.environ.get("MERGELIB_DATA")
    if not named:
        raise FileNotFoundError(
            "MERGELIB_DATA is not set: name the folder that holds images/<task>/train.parquet "
            "and test.parquet, or text/<task>/... (data/README.md says how to make them)"
        )
    folder = Path(named).expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"MERGELIB_DATA names {named!r}, which is not a folder")
    return folder


def load_rows(source: str | Path, split: str, config: str | None = None, column: str = "image"):
    """One split as a `datasets.Dataset` with the columns `column` and label; images undecoded.

    `source` is a folder with `<split>.parquet` or a hub id. Raises FileNotFoundError naming
    a missing or unreadable file, ValueError naming a missing column.
    """
    import datasets

    datasets.disable_progress_bars()
    if isinstance(source, Path):
        path = source / f"{split}.parquet"
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing")
        try:
            rows = datasets.Dataset.from_parquet(str(path), keep_in_memory=True)
        except Exception as error:
            raise ValueError(f"{path} cannot be read as parquet: {error}") from error
    else:
        rows = datasets.load_dataset(source, config, split=split)
    for name in (column, "label"):
        if name not in rows.column_names:
            found = ", ".join(rows.column_names)
            raise ValueError(f"{source} ({split}): no column {name!r} (columns: {found})")
    if column == "image":
        rows = rows.cast_column("image", datasets.Image(decode=False))
    return rows


def class_names(rows) -> tuple[str, ...] | None:
    """The names of the labels, if the data set carries them."""
    names = getattr(rows.features["label"], "names", None)
    return tuple(names) if names else None


def decode(rows, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a `datasets.Dataset`, RGB, size × size: (N, 3, size, size) uint8, (N,)."""
    images = np.empty((len(rows), size, size, 3), dtype=np.uint8)
    for i, cell in enumerate(rows["image"]):
        body = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
        try:
            picture = Image.open(io.BytesIO(body)).convert("RGB")
        except UnidentifiedImageError as error:
            raise ValueError(f"row {i}: the image cannot be decoded") from error
        if picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BICUBIC)
        images[i] = np.asarray(picture)
    labels = torch.tensor(np.asarray(rows["label"], dtype=np.int64))
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), labels
