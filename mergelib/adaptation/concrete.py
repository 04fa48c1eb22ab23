"""Concrete subspaces: one mask over all weights, learnt on unlabelled inputs, shared by all tasks.

θ = θ0 + r ⊙ Σ_k λ_k[s] τ_k, where r is a relaxed Bernoulli mask (mergelib.adaptation.mask).
Tang et al. 2023, "Concrete subspace learning based interference elimination for multi-task model
fusion", section 3.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.adamerging import AdaMergingLearner, Bounds
from mergelib.adaptation.bench import Bench, fingerprint, inputs_and_model, on_weights
from mergelib.adaptation.combination import Combination
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


@method(
    title="Concrete task arithmetic",
    family="adaptive",
    paper="tang2023concrete",
    needs="unlabelled inputs",
)
def concrete_task_arithmetic(
    bench: Bench,
    tv: TaskVectors,
    scale: float = 0.3,
    lr: float = 1e-3,
    steps: int = 2000,
    batch: int = 16,
    temperature: float = 0.5,
    logit: float = 0.0,
    mask: str = "expected",
    split: str = "val",
    seed: int = 0,
    **options,
) -> Concrete:
    """θ = θ0 + λ r ⊙ Σ_k τ_k with the mask r that minimises the summed entropy; λ = `scale`.

    Tang et al. 2023, section 3.3. All mask logits begin at `logit`; each step draws one mask for
    all tasks at `temperature`. The sum of the task vectors is formed once, and nothing else of
    `tv` is used after that. `mask` is the kind that `merged` and `evaluate` use: the expected one
    by default, where the authors take the last random draw.

    `bench`, `split` and `options` are those of `adamerging`; raises what that raises.
    """
    tasks = tv.tasks
    streams, classify = inputs_and_model(bench, tasks, split, seed)
    summed = TaskVectors(("sum",), tv.base, tv.sum().unsqueeze(0), tv.layout)
    learner = MaskLearner(summed, classify, "task", scale, temperature, logit, seed, mask)
    recipe = {
        "method": "concrete_task_arithmetic",
        "scale": scale,
        "temperature": temperature,
        "logit": logit,
        "mask": mask,
        "split": split,
        "seed": seed,
        **fingerprint(tv, options),
    }
    record = adapt(
        learner,
        streams,
        steps,
        lr=lr,
        batch=batch,
        evaluate=on_weights(options.pop("evaluate", None), learner.merged),
        title=options.pop("title", "Concrete task arithmetic"),
        recipe=recipe,
        **options,
    )
    shown = learner.init.expand(len(tasks), -1).clone()
    return _result(learner, _of_stage("mask", record), tasks, learner.init, shown)


@method(
    title="Concrete AdaMerging",
    family="adaptive",
    paper="tang2023concrete",
    needs="unlabelled inputs",
)
def concrete_adamerging(
    bench: Bench,
    tv: TaskVectors,
    by: str = "tensor",
    init: float = 0.3,
    lr: float = 1e-3,
    steps: int = 1000,
    batch: int = 16,
    temperature: float = 0.5,
    logit: float = 0.0,
    inner_lr: float = 0.1,
    coefficient_lr: float = 1e-3,
    coefficient_steps: int = 1000,
    clamp: Bounds | None = None,
    mask: str = "expected",
    split: str = "val",
    seed: int = 0,
    **options,
) -> Concrete:
    """A mask from which AdaMerging starts well, then AdaMerging with that mask.

    Tang et al. 2023, section 3.4. Stage 1 learns the mask logits in `steps` steps of MetaLearner.
    Stage 2 freezes the mask of kind `mask` and learns the coefficients from `init` in
    `coefficient_steps` steps: the same as `adamerging` on the vectors r ⊙ τ_k. The authors'
    published runs have inner_lr=1 with clamp=(0, 1), which drives every λ of stage 1 to 0 or 1.

    `bench`, `split`, `clamp` and `options` are those of `adamerging`; raises what that raises. A
    checkpoint is two files, `<checkpoint>.mask` and `<checkpoint>.coefficients`.
    """
    streams, classify = inputs_and_model(bench, tv.tasks, split, seed)
    meta = MetaLearner(
        tv, classify, by, init, temperature, logit, seed, mask, inner_lr=inner_lr, clamp=clamp
    )
    recipe = {
        "method": "concrete_adamerging",
        "by": by,
        "init": init,
        "clamp": clamp,
        "temperature": temperature,
        "logit": logit,
        "inner_lr": inner_lr,
        "mask": mask,
        "split": split,
        "seed": seed,
        **fingerprint(tv, options),
    }
    checkpoint, evaluate = options.pop("checkpoint", None), options.pop("evaluate", None)

    def stage(name: str, learner: WeightLearner, steps: int, lr: float, **more) -> Adapted:
        return adapt(
            learner,
            streams,
            steps,
            lr=lr,
            batch=batch,
            evaluate=on_weights(evaluate, learner.merged),
            checkpoint=None if checkpoint is None else f"{checkpoint}.{name}",
            title=f"Concrete AdaMerging, {name}",
            recipe={**recipe, **more},
            **options,
        )

    first = stage("mask", meta, steps, lr)
    logits = meta.trainable["logits"].detach()
    frozen = deployed_mask(logits, tv.layout, temperature, mask, seed)
    learner = AdaMergingLearner(tv, classify, by, init, clamp, frozen)
    more = {"mask_steps": steps, "mask_lr": lr}
    second = stage("coefficients", learner, coefficient_steps, coefficient_lr, **more)
    both = zip(
        vars(_of_stage("mask", first)).values(),
        vars(_of_stage("coefficients", second, after=first)).values(),
        strict=True,
    )
    record = Adapted(*(pd.concat(tables, ignore_index=True) for tables in both))
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
