"""Image encoders: open_clip vision towers, the study's own small one among them."""

import json
import warnings
from pathlib import Path

import torch

from mergelib.models import _torchvision  # noqa: F401  (must come before open_clip)
from mergelib.models.attention import use_self_attention

CONFIGS = Path(__file__).parent / "configs"
DEFAULT_ARCHITECTURE = "merge-vit-48-8"
PIXEL_MEAN = (0.48145466, 0.4578275, 0.40821073)
PIXEL_STD = (0.26862954, 0.26130258, 0.27577711)


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


def normalise_pixels(images: torch.Tensor) -> torch.Tensor:
    """(x − mean) / std per channel with CLIP's constants; `images` is (B, 3, H, W) in [0, 1]."""
    mean = torch.tensor(PIXEL_MEAN, device=images.device, dtype=images.dtype).view(3, 1, 1)
    std = torch.tensor(PIXEL_STD, device=images.device, dtype=images.dtype).view(3, 1, 1)
    return (images - mean) / std
