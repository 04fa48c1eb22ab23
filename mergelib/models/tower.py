"""The weights of a base: its vision tower's tensors in float32, as a file and as a module."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mergelib.cache import storage
from mergelib.models.base import Base
from mergelib.models.encoders import build_encoder

TOWER = "visual."


def tower_state(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The vision tower's tensors of an open_clip checkpoint, float32, without their prefix.

    Raises FileNotFoundError or ValueError naming the file.
    """
    if not checkpoint.exists():
        raise FileNotFoundError(f"the base checkpoint {checkpoint} is missing")
    try:
        state = load_file(checkpoint)
    except SafetensorError as error:
        raise ValueError(f"{checkpoint} is not a readable safetensors file: {error}") from error
    tower = {k.removeprefix(TOWER): v.float() for k, v in state.items() if k.startswith(TOWER)}
    if not tower:
        raise ValueError(f"{checkpoint} holds no tensor whose name begins with {TOWER!r}")
    return tower


def tower_file(base: Base) -> Path:
    """The base as a safetensors file of its vision tower (written once, cached)."""
    path = storage.cache_folder() / "bases" / f"{base.architecture}-{base.key()}.safetensors"
    if not path.exists():
        if base.checkpoint is None:
            torch.manual_seed(base.seed)
            state = build_encoder(base.architecture).state_dict()
        else:
            state = tower_state(base.checkpoint)
        with storage.atomic(path) as temporary:
            save_file({k: v.contiguous() for k, v in state.items()}, temporary)
    return path


def load_tower(base: Base, file: Path | None = None, device="cpu") -> torch.nn.Module:
    """The base's encoder with the weights of `file` (default: its own), in float32."""
    encoder = build_encoder(base.architecture)
    encoder.load_state_dict(load_file(file or tower_file(base)))
    return encoder.to(device).eval()
