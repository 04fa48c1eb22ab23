"""The base of a suite, by the suite's name."""

from pathlib import Path

import torch

from mergelib.models.base import Base, load_base
from mergelib.suites.spec import spec_of


def base_of(suite: str) -> Base:
    """What the suite's experts start from; ValueError for an unknown suite."""
    return spec_of(suite).base


def base_file(suite: str) -> Path:
    """The suite's base as a safetensors file (written once, cached)."""
    return base_of(suite).file()


def load_encoder(suite: str, file: Path | None = None, device="cpu") -> torch.nn.Module:
    """The suite's encoder with the weights of `file` (default: its base), in float32."""
    return load_base(base_of(suite), file, device)
