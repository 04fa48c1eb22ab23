"""What a suite's experts start from: a module that can be built, and its weights as a file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mergelib.cache import storage
from mergelib.models.inputs import Tokens

CHECKPOINTS = storage.ROOT / "data" / "checkpoints"
CONFIGS = Path(__file__).parent / "configs"

TextEncoder = Callable[[Sequence[str]], torch.Tensor]
"""Captions, n of them, to their embeddings (n, d)."""


class Base:
    """An encoder with its weights, of any kind (mergelib.models.tower, mergelib.models.text).

    `modules` are the library's modules that make it; `logit_scale` is the factor by which the base
    was trained to multiply cosines.
    """

    modules: tuple[str, ...] = ()
    logit_scale: float = 100.0

    def key(self) -> str:
        """A key of the architecture's description and of the weights or the seed."""
        raise NotImplementedError

    def file(self) -> Path:
        """All tensors of the encoder as a safetensors file, float32 (written once, cached)."""
        raise NotImplementedError

    def build(self) -> torch.nn.Module:
        """The encoder with initial values, on the CPU."""
        raise NotImplementedError

    def frozen(self) -> tuple[str, ...]:
        """The names of the tensors that are neither trained nor merged."""
        return ()

    def texts(self, tokens: Tokens) -> list[str]:
        """The texts that the encoder eats as `tokens`. Raises ValueError for a base of images."""
        raise ValueError(f"{self} reads no texts")

    def text_encoder(self, device: torch.device, precision: str = "auto") -> TextEncoder:
        """What embeds captions in the space of the encoder's features, for zero-shot heads.

        Raises ValueError for a base that does not read text.
        """
        raise ValueError(f"{self} embeds no captions, so there are no zero-shot heads for it")


def load_base(base: Base, file: Path | None = None, device="cpu") -> torch.nn.Module:
    """The base's encoder in float32 with its own weights, or with those of `file`, an expert's,
    for all but the frozen tensors."""
    from safetensors.torch import load_file

    state = load_file(base.file())
    if file is not None:
        state |= load_file(file)
    encoder = base.build()
    encoder.load_state_dict(state)
    return encoder.to(device).eval()


def pretraining_log(name: str = "merge-vit-48-8"):
    """The log of the run that made a shipped base, a DataFrame with one row a measurement.

    Columns: samples, seconds, lr_share, patch_dropout, train_loss (nats), test_* and
    probe_cifar10 (accuracies in [0, 1]).
    """
    import pandas as pd

    path = CHECKPOINTS / f"{name}.log.jsonl"
    if not path.exists():
        raise FileNotFoundError(f"the pre-training log {path} is missing")
    return pd.read_json(path, lines=True)
