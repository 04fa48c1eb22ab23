"""How a suite's experts are fine-tuned, as numbers."""

from dataclasses import dataclass

from mergelib.words import unknown

SCHEDULES = ("cosine", "linear")


@dataclass(frozen=True)
class FineTuning:
    """The recipe that mergelib.training.finetune follows.

    `warmup` is the share of steps in which the rate rises from zero, `warmup_steps` their number,
    which goes before if it is given; then the rate falls to zero by `schedule`: half a cosine
    ("cosine") or a straight line ("linear"). `l2sp` is the decay towards the base,
    θ ← θ − lr · l2sp · (θ − θ0) after each step. `dropout`: the encoder drops what its
    architecture says. `crop`, `degrees` and `colour` vary images; texts stay as they are.
    `precision` (see mergelib.models.compute) and `seed` belong to a run, not to a suite.

    Raises ValueError for a schedule that it does not know.
    """

    epochs: int = 3
    batch: int = 16
    lr: float = 4e-4
    l2sp: float = 10.0
    warmup: float = 0.1
    warmup_steps: int | None = None
    schedule: str = "cosine"
    dropout: bool = True
    clip: float = 1.0
    label_smoothing: float = 0.0
    crop: float = 0.9
    degrees: float = 3.0
    colour: float = 0.1
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise ValueError(unknown("schedule", self.schedule, SCHEDULES, "FineTuning"))


# For sentence encoders: a low rate that falls in a straight line, and no decay towards the base,
# which the few steps leave close by.
OF_TEXTS = FineTuning(
    epochs=3, batch=32, lr=2e-4, l2sp=0.0, warmup_steps=20, schedule="linear", dropout=False
)
