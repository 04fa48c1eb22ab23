"""Vision towers as bases: an open_clip architecture with the weights of a file or of a seed."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mergelib.cache import storage
from mergelib.models.base import CHECKPOINTS, CONFIGS, Base
from mergelib.models.encoders import build_encoder

TOWER = "visual."


@dataclass(frozen=True)
class VisionBase(Base):
    """An open_clip architecture, and either a checkpoint or a seed to initialise from."""

    architecture: str
    checkpoint: Path | None = None
    seed: int = 0
    modules = (__name__,)

    def key(self) -> str:
        files = [CONFIGS / f"{self.architecture}.json"]
        if self.checkpoint is not None:
            files.append(self.checkpoint)
        return storage.key_of(files=storage.key_of_files(files), seed=self.seed)

    def file(self) -> Path:
        path = storage.cache_folder() / "bases" / f"{self.architecture}-{self.key()}.safetensors"
        if not path.exists():
            if self.checkpoint is None:
                torch.manual_seed(self.seed)
                state = build_encoder(self.architecture).state_dict()
            else:
                state = tower_state(self.checkpoint)
            with storage.atomic(path) as temporary:
                save_file({k: v.contiguous() for k, v in state.items()}, temporary)
        return path

    def build(self) -> torch.nn.Module:
        return build_encoder(self.architecture)


def shipped(architecture: str) -> VisionBase:
    """The base of that architecture whose weights lie in `data/checkpoints`."""
    return VisionBase(architecture, CHECKPOINTS / f"{architecture}.safetensors")


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
