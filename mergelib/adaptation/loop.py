"""The one loop of every method that learns on unlabelled inputs.

What is learnt is the business of a `Learner`; the loop feeds it batches of every task, minimises
the summed entropy of its predictions and keeps the record.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from mergelib.adaptation.learning import Learning, Watching, settled
from mergelib.adaptation.objective import mean_entropy
from mergelib.adaptation.streams import Stream
from mergelib.adaptation.watch import CollapseWatch
from mergelib.cache import storage


class Learner:
    """Tensors that can be learnt, and what the model predicts with them.

    `trainable` is a module or tensors by name; `logits(task, batch)` gives (B, C) for a batch
    of one task. That is enough for a model whose parameters are the ones that are learnt (a
    router, say). `together(batches)`, if there is one, gives the same for batches of several
    tasks, by name, in one pass. Methods that make weights of something smaller override `begin`
    and `end`.
    """

    batches = 1  # how many batches of each task a step uses

    def __init__(
        self,
        trainable: torch.nn.Module | Mapping[str, Tensor],
        logits: Callable[[str, Tensor], Tensor],
        together: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None,
    ) -> None:
        if isinstance(trainable, torch.nn.Module):
            trainable = dict(trainable.named_parameters())
        self.trainable = {n: t for n, t in trainable.items() if t.requires_grad}
        if not self.trainable:
            raise ValueError("nothing to learn: no tensor that requires a gradient")
        self.logits, self.together = logits, together

    def predict(self, batches: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The logits of a batch of each task, by name."""
        if self.together is not None and len(batches) > 1:
            return self.together(batches)
        return {task: self.logits(task, images) for task, images in batches.items()}

    def begin(self) -> None:
        """Called before the tasks of a step have their turn."""

    def end(self) -> None:
        """Called after them: the gradient must now be in the trainable tensors."""

    def prepare(self, step: int, observe: Callable[[int], None]) -> None:
        """Called before a step. `observe(j)` runs all tasks on the step's j-th batches."""

    def state(self) -> dict:
        """What a checkpoint needs beside the trainable tensors and the optimiser."""
        return {}

    def restore(self, state: dict) -> None:
        """Go on from what `state` gave."""


@dataclass(frozen=True)
class Adapted:
    """The record of a run, both tables tidy.

    `history`: one row a step and task: step (1 …), task, entropy (mean of the batch in nats, before
    the step is taken; the loss is its sum over the tasks), top (share of the batch's most frequent
    predicted class), classes (on how many classes recent predictions fall), seconds (since the
    start). `evaluations`: step and whatever was measured then; empty if nothing was asked for.
    """

    history: pd.DataFrame
    evaluations: pd.DataFrame

    @property
    def loss(self) -> pd.Series:
        """The summed entropy at each step."""
        return self.history.groupby("step")["entropy"].sum().rename("loss")


def adapt(
    learner: Learner,
    streams: Mapping[str, Stream],
    steps: int | None = None,
    learning: Learning = Learning(),
    watching: Watching = Watching(),
    recipe: Mapping[str, object] | None = None,
    **settings: object,
) -> Adapted:
    """Minimise Σ_k mean_batch H(softmax(logits_k)) over the learner's tensors, in place.

    Adam has β = 0.9, 0.999. `learning` and `watching` say how; `steps` and `settings` replace
    fields of theirs by name. The streams are those given, so that `split` and `seed` of `learning`
    have no effect here. `evaluate` is called without arguments.

    Raises ValueError if there is nothing to do or the checkpoint is of a run with other settings
    (`recipe` adds to those compared), FloatingPointError naming task and step if the entropy is
    not finite, TypeError for an unknown setting. Warns with CollapseWarning
    (mergelib.adaptation.watch).
    """
    learning, watching = settled("adapt", settings, learning, watching)
    steps = learning.steps if steps is None else steps
    if steps < 0 or learning.batch < 1 or not streams:
        raise ValueError(
            f"adaptation needs streams, steps ≥ 0 and batch ≥ 1, not {len(streams)} streams, "
            f"{steps} steps and batches of {learning.batch}"
        )
    run = Run(learner, streams, learning.lr, learning.batch, learning.together)
    compared = {"lr": learning.lr, "batch": learning.batch, "together": learning.together}
    compared |= {"tasks": list(streams), **(recipe or {})}
    if learning.cosine:
        compared["cosine over"] = steps
    evaluate, every = watching.evaluate, watching.every
    checkpoint = None if watching.checkpoint is None else Path(watching.checkpoint)
    if checkpoint is not None and checkpoint.exists():
        run.load(checkpoint, compared)
        if run.done > steps:
            raise ValueError(f"the checkpoint {checkpoint} is at step {run.done}, past {steps}")
    bar = tqdm(
        total=steps,
        initial=run.done,
        desc=watching.title or "adaptation",
        disable=None if watching.progress is None else not watching.progress,
    )
    with bar:
        while run.done < steps:
            if evaluate is not None and every and run.done == 0:
                run.note(evaluate())
            if learning.cosine:
                run.set_rate(learning.lr * (1 + math.cos(math.pi * run.done / steps)) / 2)
            loss = run.step()
            bar.update()
            bar.set_postfix(loss=f"{loss:.3f}", entropy=f"{loss / len(streams):.3f}")
            if evaluate is not None and every and (run.done % every == 0 or run.done == steps):
                run.note(evaluate())
            if checkpoint is not None and (
                run.done % watching.save_every == 0 or run.done == steps
            ):
                run.save(checkpoint, compared)
    return run.record()


class Run:
    """A run of `adapt` as it stands: what a checkpoint holds, and one step after another."""

    def __init__(
        self,
        learner: Learner,
        streams: Mapping[str, Stream],
        lr: float,
        batch: int,
        together: bool = False,
    ) -> None:
        self.learner, self.streams, self.batch = learner, streams, batch
        self.turns = [tuple(streams)] if together else [(task,) for task in streams]
        # The fused kernel needs no memory beside the moments.
        self.optimiser = torch.optim.Adam(learner.trainable.values(), lr=lr, fused=True)
        self.watch = CollapseWatch()
        self.done, self.seconds = 0, 0.0
        self.rows: list[list] = []
        self.evaluations: list[dict] = []

    def set_rate(self, lr: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def step(self) -> float:
        """One step; the summed entropy before it."""
        begun, number = time.perf_counter(), self.done
        self.learner.prepare(number, lambda j: self._observe(number, j))
        self.optimiser.zero_grad()
        seen = self._observe(number, self.learner.batches - 1)
        self.optimiser.step()
        self.done, rows = number + 1, []
        for task, (value, counts) in seen.items():
            top = float(counts.max() / counts.sum())
            classes = self.watch.see(task, self.done, counts, value)
            rows.append([self.done, task, value, top, classes])
        self.seconds += time.perf_counter() - begun
        self.rows += [[*row, self.seconds] for row in rows]
        return sum(value for value, _ in seen.values())

    def _observe(self, step: int, number: int) -> dict[str, tuple[float, Tensor]]:
        """Gradients of the summed entropy on the step's batches of that number; per task its
        entropy and how often it predicted each class."""
        start = (step * self.learner.batches + number) * self.batch
        seen = {}
        self.learner.begin()
        for tasks in self.turns:
            batches = {task: self.streams[task].take(start, self.batch) for task in tasks}
            found = self.learner.predict(batches)
            losses = {task: mean_entropy(logits) for task, logits in found.items()}
            torch.stack(list(losses.values())).sum().backward()
            for task, logits in found.items():
                counts = torch.bincount(logits.detach().argmax(-1), minlength=logits.shape[-1])
                seen[task] = (losses[task].detach(), counts)
        self.learner.end()
        values = {task: (float(loss), counts.cpu()) for task, (loss, counts) in seen.items()}
        for task, (value, _) in values.items():
            if not abs(value) < float("inf"):
                raise FloatingPointError(
                    f"the entropy of task {task!r} is {value} at step {step + 1}: "
                    "the learning rate may be too high"
                )
        return values

    def note(self, table: pd.DataFrame) -> None:
        rows = table.to_dict("records")
        self.evaluations += [{"step": self.done, **_plain(row)} for row in rows]

    def record(self) -> Adapted:
        columns = ["step", "task", "entropy", "top", "classes", "seconds"]
        return Adapted(pd.DataFrame(self.rows, columns=columns), pd.DataFrame(self.evaluations))

    def save(self, path: Path, settings: dict) -> None:
        trainable = {name: t.detach() for name, t in self.learner.trainable.items()}
        body = {
            "settings": settings,
            "trainable": trainable,
            "optimiser": self.optimiser.state_dict(),
            "learner": self.learner.state(),
            "watch": self.watch.state(),
            "done": self.done,
            "seconds": self.seconds,
            "rows": self.rows,
            "evaluations": self.evaluations,
        }
        with storage.atomic(path) as temporary:
            torch.save(body, temporary)

    def load(self, path: Path, settings: dict) -> None:
        device = next(iter(self.learner.trainable.values())).device
        body = torch.load(path, weights_only=True, map_location=device)
        for name, value in settings.items():
            if body["settings"].get(name) != value:
                raise ValueError(
                    f"the checkpoint {path} is of a run with {name}="
                    f"{body['settings'].get(name)!r}, not {value!r}; remove it to start anew"
                )
        with torch.no_grad():
            for name, tensor in self.learner.trainable.items():
                tensor.copy_(body["trainable"][name])
        self.optimiser.load_state_dict(body["optimiser"])
        self.learner.restore(body["learner"])
        self.watch.restore(body["watch"])
        self.done, self.seconds = body["done"], body["seconds"]
        self.rows, self.evaluations = body["rows"], body["evaluations"]


def _plain(row: Mapping[str, object]) -> dict:
    """A row of a table in Python's own types, which a checkpoint may hold."""
    return {k: v.item() if hasattr(v, "item") else v for k, v in row.items()}
