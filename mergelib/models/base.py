"""The base model of each suite, as a file of its vision tower's tensors in float32."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mergelib.cache import storage
from mergelib.models.encoders import CONFIGS, build_encoder
from mergelib.words import unknown

CHECKPOINTS = storage.ROOT / "data" / "checkpoints"
TOWER = "visual."


@dataclass(frozen=True)
class Base:
    """An architecture, and either a shipped checkpoint or a seed to initialise from."""

    architecture: str
    checkpoint: Path | None = None
    seed: int = 0

    def key(self) -> str:
        files = [CONFIGS / f"{self.architecture}.json"]
        if self.checkpoint is not None:
            files.append(self.checkpoint)
        return storage.key_of(files=storage.key_of_files(files), seed=self.seed)


STUDY = Base("merge-vit-48-8", CHECKPOINTS / "merge-vit-48-8.safetensors")
BASES = {"pico": Base("merge-vit-pico"), "desk": STUDY, "standard": STUDY}


def base_of(suite: str) -> Base:
    """The base of a suite; ValueError naming it if it has none."""
    if suite not in BASES:
        raise ValueError(unknown("suite", suite, BASES, "mergelib.models.base"))
    return BASES[suite]


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


def base_file(suite: str) -> Path:
    """The suite's base as a safetensors file of the vision tower (written once, cached)."""
    base = base_of(suite)
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


def load_encoder(suite: str, file: Path | None = None, device="cpu") -> torch.nn.Module:
    """The suite's encoder with the weights of `file` (default: its base), in float32."""
    encoder = build_encoder(base_of(suite).architecture)
    encoder.load_state_dict(load_file(file or base_file(suite)))
    return encoder.to(device).eval()


def pretraining_log(name: str = "merge-vit-48-8") -> pd.DataFrame:
    """The log of the run that made a shipped base, one row a measurement.

    Columns: samples, seconds, lr_share, patch_dropout, train_loss (nats), test_* and
    probe_cifar10 (accuracies in [0, 1]).
    """
    path = CHECKPOINTS / f"{name}.log.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"the pre-training log {path} is missing")
    return pd.read_json(path, lines=True)
