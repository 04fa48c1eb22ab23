"""What a method learns on: a model, unlabelled inputs of its tasks, and how to ask the model.

`Bench` is for anyone's model. A workbench of the study, and a tuple (encoder, heads, suite), are
benches, too.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import Module
from torch.utils.data import default_collate

from mergelib.adaptation.learning import Learning, Watching
from mergelib.adaptation.streams import Stream, unlabelled
from mergelib.models.compute import mixed_precision
from mergelib.models.heads import Head
from mergelib.models.inputs import CPU_BATCH, Inputs, as_inputs, joined
from mergelib.suites.suite import Suite
from mergelib.vectors.fitting import complete
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.words import unknown

FIFTH = 5

Logits = Callable[[Module, str, object], Tensor]
"""logits(model, task, batch) gives (B, C): `model` is called as the user's own is called."""


class Asked:
    """What every bench can be asked; `model` is the module whose weights are merged."""

    model: Module
    precision: str

    def streams_of(self, tasks: Sequence[str], split: str, seed: int) -> dict[str, Stream]:
        """The unlabelled inputs of some tasks; KeyError or ValueError names what there is not."""
        raise NotImplementedError

    def batches_of(self, task: str, split: str, limit: int | None = None) -> Iterator[object]:
        """The first `limit` inputs of a task's split in batches that suit the device."""
        raise NotImplementedError

    def answer(self, model: Module, task: str, batch: object) -> Tensor:
        """Logits (B, C) of a batch of one task by `model`, which takes the place of the bench's."""
        raise NotImplementedError

    def answers(self, model: Module, batches: Mapping[str, object]) -> dict[str, Tensor]:
        """The same for a batch of each task, by name, in one pass of the model if that can be."""
        return {task: self.answer(model, task, batch) for task, batch in batches.items()}

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


@dataclass(frozen=True)
class Bench(Asked):
    """Anyone's model with unlabelled inputs of its tasks.

        bench = ml.Bench(model, streams={"cola": rows, "sst2": others}, logits=f, collate=collate)

    `model`: any module; it is not changed. `streams`: task → rows, anything with a length whose
    items are taken by number; they are the only inputs there are, whatever `split` a method is
    given. `collate` makes a batch of a list of them. `logits(model, task, batch)` gives (B, C):
    `model` is called there as the user's own module is called, its methods and attributes are at
    hand, and it computes with the weights in question.

    `evaluate(model)`, if there is one, gives a table with a column `accuracy`, one row a task; a
    run that is asked to look (`every`) calls it. `precision`: see mergelib.models.compute.

    Raises TypeError or ValueError naming what does not fit.
    """

    model: Module
    streams: Mapping[str, Sequence]
    logits: Logits
    collate: Callable[[list], object] = default_collate
    evaluate: Callable[[Module], pd.DataFrame] | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.model, Module):
            raise TypeError(f"model must be a torch.nn.Module, not a {type(self.model).__name__}")
        for name, given in (("logits", self.logits), ("collate", self.collate)):
            if not callable(given):
                raise TypeError(f"{name} must be a function, not a {type(given).__name__}")
        if not self.streams:
            raise ValueError("a bench needs the unlabelled inputs of at least one task")
        for task, rows in self.streams.items():
            if not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")):
                raise TypeError(
                    f"the inputs of task {task!r} are a {type(rows).__name__}, which has no length "
                    "or no items: give a list or a data set"
                )

    def streams_of(self, tasks: Sequence[str], split: str, seed: int) -> dict[str, Stream]:
        for task in tasks:
            if task not in self.streams:
                raise KeyError(unknown("task", task, self.streams, "the streams of the bench"))
        return {task: Stream(task, self.streams[task], seed, self.collate) for task in tasks}

    def batches_of(self, task: str, split: str, limit: int | None = None) -> Iterator[object]:
        """There is one set of inputs: every fifth is val, the others are train."""
        rows = self.streams[task]
        held_out = split == "val"
        some = [i for i in range(len(rows)) if (i % FIFTH == FIFTH - 1) == held_out][:limit]
        for start in range(0, len(some), CPU_BATCH):
            yield self.collate([rows[i] for i in some[start : start + CPU_BATCH]])

    def answer(self, model: Module, task: str, batch: object) -> Tensor:
        with mixed_precision(self.device, self.precision):
            found = self.logits(model, task, batch)
        if not isinstance(found, Tensor) or found.dim() != 2:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"logits of task {task!r} must be a tensor (B, C), not {what}")
        return found.float() if found.dtype.itemsize < 4 else found


class OfSuite(Asked):
    """A bench made of an encoder, a head for each task, and a suite of tasks."""

    encoder: Module
    heads: Mapping[str, Head]
    suite: Suite

    @property
    def model(self) -> Module:
        return self.encoder

    def streams_of(self, tasks: Sequence[str], split: str, seed: int) -> dict[str, Stream]:
        for task in tasks:
            if task in self.suite.tasks and task not in self.heads:
                raise KeyError(unknown("head", task, self.heads, f"suite {self.suite.name!r}"))
        return unlabelled(self.suite, split, seed, tasks)

    def batches_of(self, task: str, split: str, limit: int | None = None) -> Iterator[Inputs]:
        inputs = self.suite[task].split(split).inputs[:limit]
        for _, part in inputs.batches(inputs.fit(self.device)):
            yield part

    def answer(self, model: Module, task: str, batch: Inputs) -> Tensor:
        return self.heads[task].to(self.device)(self._features(model, batch))

    def answers(self, model: Module, batches: Mapping[str, Inputs]) -> dict[str, Tensor]:
        features = self._features(model, joined(list(batches.values())))
        parts = features.split([len(batch) for batch in batches.values()])
        heads = (self.heads[task].to(self.device) for task in batches)
        return {task: head(f) for task, head, f in zip(batches, heads, parts, strict=True)}

    def _features(self, model: Module, batch: Inputs) -> Tensor:
        arguments = as_inputs(batch).prepare(self.device)
        with mixed_precision(self.device, self.precision):
            return model(*arguments)


@dataclass(frozen=True)
class SuiteBench(OfSuite):
    """An encoder, heads and a suite."""

    encoder: Module
    heads: Mapping[str, Head]
    suite: Suite
    precision: str = "auto"


AnyBench: TypeAlias = Asked | tuple[Module, dict[str, Head], Suite]


def as_bench(bench: AnyBench) -> Asked:
    """A bench as it is; (encoder, heads, suite) as one."""
    return bench if isinstance(bench, Asked) else SuiteBench(*bench)


class Classifier:
    """classify(state, task, batch): logits (B, C) of a bench's model with the tensors `state`.

    `state` has the merged tensors by name; what it has not is the model's own. A tensor that the
    model has under several names needs one of them only.
    """

    def __init__(self, bench: Asked) -> None:
        self.bench = bench
        bench.model.eval()

    def __call__(self, state: Mapping[str, Tensor], task: str, batch: object) -> Tensor:
        return self._ask(state, self.bench.answer, task, batch)

    def together(
        self, state: Mapping[str, Tensor], batches: Mapping[str, object]
    ) -> dict[str, Tensor]:
        """The same for a batch of each task, by name."""
        return self._ask(state, self.bench.answers, batches)

    def _ask(self, state: Mapping[str, Tensor], ask: Callable, *arguments: object):
        # Integer buffers are constants, of which the model has its own.
        merged = {name: t for name, t in state.items() if t.is_floating_point()}
        complete_state = complete(self.bench.model, merged)
        return with_tensors(self.bench.model, complete_state, ask, *arguments)


class _Asking(Module):
    """A function of a module as a module, so that functional_call can run it."""

    def __init__(self, model: Module, ask: Callable) -> None:
        super().__init__()
        self.model, self.ask = model, ask

    def forward(self, *arguments: object):
        return self.ask(self.model, *arguments)


def with_tensors(model: Module, state: Mapping[str, Tensor], ask: Callable, *arguments: object):
    """ask(model, *arguments) while the module's tensors are those of a complete `state`."""
    named = {f"model.{name}": tensor for name, tensor in state.items()}
    return functional_call(_Asking(model, ask), named, arguments, strict=True)


def prepared(
    bench: AnyBench, tv: TaskVectors, learning: Learning, watching: Watching
) -> tuple[Asked, dict[str, Stream], Watching]:
    """(bench, streams, watching) of a run: what every method that learns begins with.

    A run that is asked to look and has not been told how looks as its bench does. Raises
    CheckpointError unless the task vectors fit the bench's model, KeyError or ValueError for
    inputs that there are not; nothing has been computed then.
    """
    bench = as_bench(bench)
    tv.layout.require_fits(bench.model)
    streams = bench.streams_of(tv.tasks, learning.split, learning.seed)
    if watching.every and watching.evaluate is None:
        watching = replace(watching, evaluate=evaluation_of(bench, tv))
    return bench, streams, watching


def run_recipe(tv: TaskVectors, learning: Learning, watching: Watching) -> dict[str, object]:
    """What every method's checkpoint notes beside its own numbers; a hash only if there is one."""
    noted = {"split": learning.split, "seed": learning.seed}
    return noted if watching.checkpoint is None else {**noted, "vectors": fingerprint(tv)}


def fingerprint(tv: TaskVectors) -> str:
    """A hash of base and task vectors, which tells a checkpoint's from others."""
    digest = hashlib.sha256()
    for row in (tv.base, *tv.deltas):
        digest.update(row.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def on_weights(
    evaluate: Callable[[Tensor], pd.DataFrame] | None, weights: Callable[[], Tensor]
) -> Callable[[], pd.DataFrame] | None:
    """The loop's `evaluate` from one that takes weights (P,)."""
    return None if evaluate is None else lambda: evaluate(weights())


def evaluation_of(
    bench: Asked, tv: TaskVectors
) -> Callable[[Tensor | Module], pd.DataFrame] | None:
    """A bench's own `evaluate` as a function of weights (P,) or of a model in its place."""
    evaluate = getattr(bench, "evaluate", None)
    if not isinstance(bench, Bench) or evaluate is None:
        return None

    def look(model: Tensor | Module) -> pd.DataFrame:
        if isinstance(model, Module):
            return evaluate(model)
        state = tv.layout.state_for(bench.model, model)
        with torch.no_grad():
            return with_tensors(bench.model.eval(), state, evaluate)

    return look
