"""Notices when a model becomes sure of itself by giving everybody the same answer."""

import warnings
from collections import deque

import torch
from torch import Tensor

from mergelib.adaptation.objective import effective_classes

WINDOW = 25
FIRST = 5  # batches that are enough to compare with, because a collapse may be quick
SHRINKS_TO = 0.5


class CollapseWarning(UserWarning):
    """Predictions of a task concentrate on few classes while their entropy falls."""


class CollapseWatch:
    """Counts the predicted classes of each task over the last `window` batches.

    Low entropy is wanted, but there are two ways to it: to know the class of each input, or to
    name one class whatever the input. In the second, exp(H) of the classes' shares, on how many
    classes the predictions fall, shrinks as well. A task is warned of, once, when this number is
    less than `shrinks_to` of the most it has been, and its mean entropy lower than it was then.
    """

    def __init__(self, window: int = WINDOW, shrinks_to: float = SHRINKS_TO) -> None:
        self.window, self.shrinks_to = window, shrinks_to
        self._recent: dict[str, deque] = {}
        self._widest: dict[str, tuple[float, float, int]] = {}
        self._warned: set[str] = set()

    def see(self, task: str, step: int, counts: Tensor, entropy: float) -> float:
        """Take in a batch: how often each class was predicted (C,), and the mean entropy.

        Returns on how many classes the window's predictions fall; warns with CollapseWarning.
        """
        recent = self._recent.setdefault(task, deque(maxlen=self.window))
        recent.append((counts.tolist(), entropy))
        seen = torch.tensor([c for c, _ in recent]).sum(0)
        classes = float(effective_classes(seen))
        if len(recent) < min(FIRST, self.window):
            return classes
        mean = sum(h for _, h in recent) / len(recent)
        widest, mean_then, step_then = self._widest.get(task, (0.0, 0.0, 0))
        if classes > widest:
            self._widest[task] = (classes, mean, step)
        elif classes < self.shrinks_to * widest and mean < mean_then and task not in self._warned:
            self._warned.add(task)
            share = float(seen.max() / seen.sum())
            warnings.warn(
                f"task {task!r} may be collapsing at step {step}: its last {int(seen.sum())} "
                f"predictions fall on {classes:.1f} of {len(seen)} classes ({share:.0%} on class "
                f"{int(seen.argmax())}), those up to step {step_then} on {widest:.1f}, while the "
                f"entropy fell from {mean_then:.3f} to {mean:.3f}",
                CollapseWarning,
                stacklevel=2,
            )
        return classes

    def state(self) -> dict:
        """All that was seen, in plain types, for a checkpoint."""
        return {
            "recent": {task: list(recent) for task, recent in self._recent.items()},
            "widest": dict(self._widest),
            "warned": sorted(self._warned),
        }

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""
        self._recent = {t: deque(r, maxlen=self.window) for t, r in state["recent"].items()}
        self._widest, self._warned = dict(state["widest"]), set(state["warned"])
