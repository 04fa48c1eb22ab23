"""Concrete subspaces: one mask over all weights, learnt on unlabelled inputs, shared by all tasks.

θ = θ0 + r ⊙ Σ_k λ_k[s] τ_k, where r is a relaxed Bernoulli mask (mergelib.adaptation.mask).
Tang et al. 2023, "Concrete subspace learning based interference elimination for multi-task model
fusion", section 3.
"""

from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.adamerging import AdaMergingLearner, Bounds
from mergelib.adaptation.bench import AnyBench, Classifier, on_weights, prepared, run_recipe
from mergelib.adaptation.combination import Combination
from mergelib.adaptation.learning import Learning, Watching, settled
from mergelib.adaptation.loop import Adapted, adapt
from mergelib.adaptation.mask import deployed_mask
from mergelib.adaptation.mask_learners import MaskLearner, MetaLearner
from mergelib.adaptation.weights import WeightLearner
from mergelib.methods.entry import method
from mergelib.vectors.layout import Layout
from mergelib.vectors.task_vectors import TaskVectors


@dataclass(frozen=True)
class Concrete(Adapted):
    """What Concrete learning found: the record of the run, with a column `stage` ("mask", then
    "coefficients") through which steps and seconds run on, and

    `logits` x (P,), `base` θ0 (P,), `direction` Σ_k λ_k[s] τ_k (P,), `merged` (P,): the weights
    with the mask of `kind` and `seed`; `coefficients` λ (K, n) with the names of tasks and groups.
    """

    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    coefficients: Tensor
    logits: Tensor
    base: Tensor
    direction: Tensor
    layout: Layout
    temperature: float
    kind: str
    seed: int
    merged: Tensor

    def mask(self, kind: str | None = None, seed: int | None = None) -> Tensor:
        """r (P,), of this or another kind ("sample", "expected", "binary") and seed."""
        kind, seed = kind or self.kind, self.seed if seed is None else seed
        return deployed_mask(self.logits, self.layout, self.temperature, kind, seed)

    def weights(self, kind: str | None = None, seed: int | None = None) -> Tensor:
        """θ0 + r ⊙ direction (P,), with r = mask(kind, seed)."""
        return torch.addcmul(self.base, self.mask(kind, seed), self.direction)

    def table(self) -> pd.DataFrame:
        """The coefficients, one row a task, one column a group."""
        return pd.DataFrame(self.coefficients.cpu().numpy(), self.tasks, self.groups)


@dataclass(frozen=True)
class Masking:
    """How masks are drawn and deployed: all logits begin at `logit`; each step draws one mask for
    all tasks at `temperature`; `mask` is the kind that a finished model has (deployed_mask)."""

    temperature: float = 0.5
    logit: float = 0.0
    mask: str = "expected"


@dataclass(frozen=True)
class Stages:
    """The steps on λ in Concrete AdaMerging: the inner one of each step of stage 1, at rate
    `inner_lr`, and stage 2, `coefficient_steps` at rate `coefficient_lr`. `clamp`, say (0, 1),
    bounds λ where it is used, in both."""

    inner_lr: float = 0.1
    coefficient_lr: float = 1e-3
    coefficient_steps: int = 1000
    clamp: Bounds | None = None


@method(
    title="Concrete task arithmetic",
    family="adaptive",
    paper="tang2023concrete",
    needs="unlabelled inputs, sorted by task",
    published={"steps": 2000, "lr": 1e-3, "batch": 16, "mask": "sample", "split": "test"},
)
def concrete_task_arithmetic(
    bench: AnyBench,
    tv: TaskVectors,
    scale: float = 0.3,
    masking: Masking = Masking(),
    learning: Learning = Learning(steps=2000, lr=1e-3, batch=16),
    **settings: object,
) -> Concrete:
    """θ = θ0 + λ r ⊙ Σ_k τ_k with the mask r that minimises the summed entropy; λ = `scale`.

    Tang et al. 2023, section 3.3. The sum of the task vectors is formed once, and nothing else of
    `tv` is used after that. The mask that `merged` and `evaluate` use is the expected one by
    default, where the authors take the last random draw.

    `bench` is that of `adamerging`; `settings` are single fields of Masking, Learning and Watching
    by name. Raises what adamerging raises.
    """
    masking, learning, watching = settled(
        "concrete_task_arithmetic", settings, masking, learning, Watching()
    )
    bench, streams, watching = prepared(bench, tv, learning, watching)
    tasks = tv.tasks
    summed = TaskVectors(("sum",), tv.base, tv.sum().unsqueeze(0), tv.layout)
    drawn = (masking.temperature, masking.logit, learning.seed, masking.mask)
    learner = MaskLearner(summed, Classifier(bench), "task", scale, *drawn)
    recipe = {"method": "concrete_task_arithmetic", "scale": scale, **vars(masking)}
    recipe |= run_recipe(tv, learning, watching)
    watching = replace(
        watching,
        evaluate=on_weights(watching.evaluate, learner.merged),
        title=watching.title or "Concrete task arithmetic",
    )
    record = adapt(learner, streams, learning=learning, watching=watching, recipe=recipe)
    shown = learner.init.expand(len(tasks), -1).clone()
    return _result(learner, _of_stage("mask", record), tasks, learner.init, shown)


@method(
    title="Concrete AdaMerging",
    family="adaptive",
    paper="tang2023concrete",
    needs="unlabelled inputs, sorted by task",
    published={
        "steps": 1000,
        "lr": 1e-3,
        "batch": 16,
        "inner_lr": 1.0,
        "clamp": (0.0, 1.0),
        "mask": "sample",
        "split": "test",
    },
)
def concrete_adamerging(
    bench: AnyBench,
    tv: TaskVectors,
    by: str = "tensor",
    init: float = 0.3,
    masking: Masking = Masking(),
    stages: Stages = Stages(),
    learning: Learning = Learning(steps=1000, lr=1e-3, batch=16),
    **settings: object,
) -> Concrete:
    """A mask from which AdaMerging starts well, then AdaMerging with that mask.

    Tang et al. 2023, section 3.4. Stage 1 learns the mask logits in `steps` steps of MetaLearner,
    as `learning` says. Stage 2 freezes the mask of kind `mask` and learns the coefficients from
    `init`: the same as `adamerging` on the vectors r ⊙ τ_k. The authors' published runs have
    inner_lr=1 with clamp=(0, 1), which drives every λ of stage 1 to 0 or 1.

    `bench` is that of `adamerging`; `settings` are single fields of Masking, Stages, Learning and
    Watching by name. Raises what adamerging raises. A checkpoint is two files,
    `<checkpoint>.mask` and `<checkpoint>.coefficients`.
    """
    masking, stages, learning, watching = settled(
        "concrete_adamerging", settings, masking, stages, learning, Watching()
    )
    bench, streams, watching = prepared(bench, tv, learning, watching)
    classify, drawn = Classifier(bench), (masking.temperature, masking.logit, learning.seed)
    inner = {"inner_lr": stages.inner_lr, "clamp": stages.clamp}
    meta = MetaLearner(tv, classify, by, init, *drawn, masking.mask, **inner)
    recipe = {"method": "concrete_adamerging", "by": by, "init": init, **inner, **vars(masking)}
    recipe |= run_recipe(tv, learning, watching)

    def stage(name: str, learner: WeightLearner, learning: Learning, **more) -> Adapted:
        checkpoint = watching.checkpoint
        watched = replace(
            watching,
            evaluate=on_weights(watching.evaluate, learner.merged),
            checkpoint=None if checkpoint is None else f"{checkpoint}.{name}",
            title=f"Concrete AdaMerging, {name}",
        )
        noted = {**recipe, **more}
        return adapt(learner, streams, learning=learning, watching=watched, recipe=noted)

    first = stage("mask", meta, learning)
    logits = meta.trainable["logits"].detach()
    frozen = deployed_mask(logits, tv.layout, masking.temperature, masking.mask, learning.seed)
    learner = AdaMergingLearner(tv, classify, by, init, stages.clamp, frozen)
    then = replace(learning, steps=stages.coefficient_steps, lr=stages.coefficient_lr)
    more = {"mask_steps": learning.steps, "mask_lr": learning.lr}
    second = stage("coefficients", learner, then, **more)
    runs = _of_stage("mask", first), _of_stage("coefficients", second, after=first)
    record = Adapted(
        history=pd.concat([run.history for run in runs], ignore_index=True),
        evaluations=pd.concat([run.evaluations for run in runs], ignore_index=True),
    )
    found = learner.coefficients().detach().clone()
    return _result(meta, record, tv.tasks, found, found)


def _of_stage(name: str, record: Adapted, after: Adapted | None = None) -> Adapted:
    """The record with a column `stage`, its steps and seconds counted on from an earlier one."""
    shift = {"step": 0, "seconds": 0.0}
    if after is not None and len(after.history):
        shift = {column: after.history[column].iloc[-1] for column in shift}
    tables = []
    for table in (record.history, record.evaluations):
        moved = {column: table[column] + shift[column] for column in shift if column in table}
        tables.append(table.assign(**moved, stage=name))
    return Adapted(*tables)


@torch.no_grad()
def _result(
    learner: MaskLearner,
    record: Adapted,
    tasks: tuple[str, ...],
    used: Tensor,
    shown: Tensor,
) -> Concrete:
    """The result with coefficients `used` by the learner's combination, `shown` by task."""
    tv, logits = learner.combination.tv, learner.trainable["logits"].detach()
    # From zero, because θ − θ0 would be rounded as θ is.
    arrows = TaskVectors(tv.tasks, torch.zeros_like(tv.base), tv.deltas, tv.layout)
    direction = Combination(arrows, learner.combination.by)(used.detach())
    mask = deployed_mask(logits, tv.layout, learner.temperature, learner.kind, learner.seed)
    return Concrete(
        history=record.history,
        evaluations=record.evaluations,
        tasks=tasks,
        groups=learner.combination.groups,
        coefficients=shown,
        logits=logits,
        base=tv.base,
        direction=direction,
        layout=tv.layout,
        temperature=learner.temperature,
        kind=learner.kind,
        seed=learner.seed,
        merged=torch.addcmul(tv.base, mask, direction),
    )
