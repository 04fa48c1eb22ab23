"""What a suite's experts start from: an architecture with the weights of a file or of a seed."""

from dataclasses import dataclass
from pathlib import Path

from mergelib.cache import storage

CHECKPOINTS = storage.ROOT / "data" / "checkpoints"
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Base:
    """An architecture, and either a shipped checkpoint or a seed to initialise from."""

    architecture: str
    checkpoint: Path | None = None
    seed: int = 0

    def key(self) -> str:
        """A key of the architecture's description and of the weights or the seed."""
        files = [CONFIGS / f"{self.architecture}.json"]
        if self.checkpoint is not None:
            files.append(self.checkpoint)
        return storage.key_of(files=storage.key_of_files(files), seed=self.seed)


def shipped(architecture: str) -> Base:
    """The base of that architecture whose weights lie in `data/checkpoints`."""
    return Base(architecture, CHECKPOINTS / f"{architecture}.safetensors")


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
