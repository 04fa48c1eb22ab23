"""Reads labelled images in the hub's parquet layout, through `datasets`."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image


def read_labelled(path: Path):
    """A parquet file as (table with `image` bytes and `label`, class names)."""
    import json

    file = pq.ParquetFile(path)
    meta = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    names = meta.get("info", {}).get("features", {}).get("label", {}).get("names")
    table = file.read().to_pandas()
    table["image"] = [row["bytes"] for row in table["image"]]
    return table, names


def decode_images(encoded, size: int) -> torch.Tensor:
    out = np.empty((len(encoded), size, size, 3), dtype=np.uint8)
    for i, blob in enumerate(encoded):
        image = Image.open(io.BytesIO(blob)).convert("RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BICUBIC)
        out[i] = np.asarray(image)
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()
