"""Safetensors files that say in their header what they hold."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mergelib.cache import storage
from mergelib.vectors.checkpoint import CheckpointError


def save_headed(
    path: str | os.PathLike, tensors: Mapping[str, Tensor], kind: str, about: Mapping
) -> None:
    """Write tensors to `path`, complete or not at all, and `about` as JSON in the file's header
    under the word `kind`; a copy of it for people is the .json beside it."""
    text = json.dumps(about, indent=1)
    # Copies where memory is shared or strided, because a file holds each tensor by itself.
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with storage.atomic(path) as temporary:
        save_file(whole, temporary, metadata={"format": "pt", kind: text})
    with storage.atomic(Path(path).with_suffix(".json")) as temporary:
        temporary.write_text(text + "\n")


def read_header(path: str | os.PathLike, kind: str, title: str) -> dict:
    """What `save_headed` noted under `kind`; CheckpointError saying that the file holds no `title`
    if there is nothing."""
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(kind)
    if header is None:
        raise CheckpointError(f"{path} holds no {title}: its header does not say what it is")
    return json.loads(header)
