"""Image encoders: open_clip vision towers, the study's own small one among them."""

import json
import warnings

import torch

from mergelib.models import _torchvision  # noqa: F401  (must come before open_clip)
from mergelib.models.attention import use_self_attention
from mergelib.models.base import CONFIGS

DEFAULT_ARCHITECTURE = "merge-vit-48-8"


def build_clip(architecture: str = DEFAULT_ARCHITECTURE) -> torch.nn.Module:
    """A freshly initialised open_clip model of the named architecture.

    `architecture` is a file of `mergelib/models/configs` (open_clip's JSON format) or any
    name that open_clip itself knows. Raises ValueError naming it if it is neither.
    """
    with warnings.catch_warnings():
        # In a notebook without ipywidgets tqdm, which open_clip imports, warns about its looks.
        warnings.filterwarnings("ignore", message="IProgress not found")
        import open_clip

    open_clip.add_model_config(CONFIGS)
    config = open_clip.get_model_config(architecture)
    if config is None:
        own = sorted(path.stem for path in CONFIGS.glob("*.json"))
        raise ValueError(
            f"unknown architecture {architecture!r}: neither one of mergelib's ({', '.join(own)}) "
            "nor one of open_clip's (open_clip.list_models())"
        )
    clip = open_clip.CLIP(**config)
    use_self_attention(clip.visual)
    return clip


def build_encoder(architecture: str = DEFAULT_ARCHITECTURE) -> torch.nn.Module:
    """The vision tower alone: images (B, 3, H, W) → features (B, d)."""
    return build_clip(architecture).visual


def architecture_config(architecture: str = DEFAULT_ARCHITECTURE) -> dict:
    """The architecture as open_clip's JSON has it."""
    return json.loads((CONFIGS / f"{architecture}.json").read_text())
