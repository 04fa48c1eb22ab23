"""How a suite's experts are fine-tuned, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FineTuning:
    """The recipe that mergelib.training.finetune follows.

    `warmup` is the share of steps in which the rate rises from zero; `l2sp` is the decay towards
    the base, θ ← θ − lr · l2sp · (θ − θ0) after each step. `precision` (see
    mergelib.models.compute) and `seed` belong to a run, not to a suite.
    """

    epochs: int = 3
    batch: int = 16
    lr: float = 4e-4
    l2sp: float = 10.0
    warmup: float = 0.1
    clip: float = 1.0
    label_smoothing: float = 0.0
    crop: float = 0.9
    degrees: float = 3.0
    colour: float = 0.1
    precision: str = "auto"
    seed: int = 0
