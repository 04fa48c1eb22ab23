"""Unlabelled inputs: for each task an endless shuffled sequence of them, and nothing else."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mergelib.models.inputs import Inputs
from mergelib.suites.suite import Suite


@dataclass(frozen=True, eq=False)
class Stream:
    """The inputs of one task in an order that depends on `seed` and task alone.

    The sequence passes through all inputs in a random order, then through all of them in
    another one, without end. It has no position of its own: what is asked for is what comes,
    so that a run that goes on after an interruption sees what it would have seen. There are no
    labels in it.

    `inputs` are Inputs or a tensor (N, …), not copied and not read again; or, with `collate`, any
    rows that have a length and are taken by number, of which `collate` makes a batch.
    """

    task: str
    inputs: Inputs | Tensor | Sequence
    seed: int = 0
    collate: Callable[[list], object] | None = None

    def __post_init__(self) -> None:
        if not len(self.inputs):
            raise ValueError(f"the stream of task {self.task!r} has no inputs")

    def take(self, start: int, count: int) -> object:
        """Inputs `start` … `start + count − 1` of the sequence, `count` in one batch."""
        total, parts = len(self.inputs), []
        while count:
            turn, first = divmod(start, total)
            part = _order(self.seed, self.task, turn, total)[first : first + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        chosen = torch.cat(parts)
        if self.collate is not None:
            return self.collate([self.inputs[i] for i in chosen.tolist()])
        return self.inputs[chosen.to(getattr(self.inputs, "device", "cpu"))]


def unlabelled(
    suite: Suite,
    split: str = "val",
    seed: int = 0,
    tasks: Iterable[str] | None = None,
    limit: int | None = None,
) -> dict[str, Stream]:
    """One stream a task over the inputs of a split, or over their first `limit`.

    split="val" adapts on inputs that are not those reported on (inductive); split="test" on
    those themselves (transductive), as the papers do. Raises KeyError or ValueError naming an
    unknown task or split.
    """
    names = suite.names if tasks is None else tuple(tasks)
    if not names:
        raise ValueError(f"no task of suite {suite.name!r} to adapt on")
    return {name: Stream(name, suite[name].split(split).inputs[:limit], seed) for name in names}


def derived_seed(*parts: int | str) -> int:
    """A 32-bit seed made of numbers and words; other parts give an independent one.

    Raises ValueError for a negative number.
    """
    # Counts go first: numpy takes a seed that ends in zeros for the one without them.
    entropy = [len(parts)]
    for part in parts:
        if isinstance(part, str):
            entropy += [len(part.encode()) + 1, *part.encode()]
        elif part < 0:
            raise ValueError(f"seed must not be negative, not {part}")
        else:
            entropy += [0, part]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


@functools.lru_cache(maxsize=64)
def _order(seed: int, task: str, turn: int, total: int) -> Tensor:
    generator = torch.Generator().manual_seed(derived_seed(seed, task, turn))
    return torch.randperm(total, generator=generator)
