"""Runs on unlabelled inputs: their curves, and entropy as a stand-in for the loss.

AdaMerging minimises the entropy of the predictions because the loss needs labels. Yang et al. 2024,
"AdaMerging", section 3.2.2, measure among inputs how far the two go together. The same is asked
here, and also among models with different scales λ: between models is where a minimiser moves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.loop import Adapted
from mergelib.adaptation.objective import entropy
from mergelib.analysis.losses import features, inputs_of
from mergelib.analysis.result import Result
from mergelib.mixtures.mixture import Mixture
from mergelib.workbench import Merge, Workbench


def learning_curve(run: Adapted, passes: Mapping[str, int] | int = 1) -> pd.DataFrame:
    """The mean accuracy over tasks at each evaluation of a run: step, passes, seconds, accuracy.

    `passes` is how often a step runs the model forward and backward on a batch of every task:
    one number, or one for each `stage` of a run that has several. Time counts the steps and not
    the evaluations. Raises ValueError for a run that was not evaluated.
    """
    if not len(run.evaluations):
        raise ValueError("the run was not evaluated: give adapt `evaluate` and `every`")
    steps = run.history.groupby("step", as_index=False).first()
    stage = steps["stage"] if "stage" in steps else pd.Series("", index=steps.index)
    each = stage.map(passes) if isinstance(passes, Mapping) else pd.Series(passes, steps.index)
    spent = {0: (0, 0.0)}
    totals = zip(steps["step"], each.cumsum(), steps["seconds"], strict=True)
    spent |= {int(step): (int(count), float(seconds)) for step, count, seconds in totals}
    keys = [name for name in ("stage", "step") if name in run.evaluations]
    means = run.evaluations.groupby(keys, sort=False)["accuracy"].mean().reset_index()
    means["passes"] = [spent[step][0] for step in means["step"]]
    means["seconds"] = [spent[step][1] for step in means["step"]]
    return means[[*keys, "passes", "seconds", "accuracy"]]


def accuracy_at(curve: pd.DataFrame, passes: int) -> float:
    """The accuracy of a `learning_curve` at the last evaluation within a number of passes."""
    within = curve[curve["passes"] <= passes]
    if not len(within):
        raise ValueError(f"the curve has no evaluation within {passes} passes")
    return float(within.sort_values("passes")["accuracy"].iloc[-1])


@dataclass(frozen=True)
class Stopped:
    """A run whose accuracy was measured, with labels, every few steps; and its best model.

    run      the run, with all its steps
    curve    its `learning_curve`
    step     the step after which the mean accuracy was highest, the first of equals
    weights  the model after that step: weights (P,), or a mixture
    """

    run: Adapted
    curve: pd.DataFrame
    step: int
    weights: Tensor | Mixture


def stopped(
    learn: Callable[..., Adapted],
    look: Callable[[Tensor], pd.DataFrame] | Callable[[Mixture], pd.DataFrame],
    every: int,
    passes: Mapping[str, int] | int = 1,
) -> Stopped:
    """Call `learn(evaluate=…, every=…)`, an adaptation with its other arguments bound, and keep the
    best of its models.

    Every `every` steps `look` measures the model, weights (P,) or a mixture, and returns an
    `evaluate` table, say of a part of val: labels choose when to stop, and nothing else. The run
    goes through all its steps whatever is seen; a mixture then gets the routers of its best step
    back. `passes` is that of `learning_curve`. Raises ValueError for `every` below 1.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1 step, not {every}")
    means: list[float] = []
    best: list = [0, None]

    def evaluate(model: Tensor | Mixture) -> pd.DataFrame:
        table = look(model)
        # Rounded, so that sums of the same numbers in another order are equals.
        means.append(round(float(table["accuracy"].mean()), 9))
        if max(means[:-1], default=-1.0) < means[-1]:
            best[:] = [len(means) - 1, _copy(model)]
        return table

    run = learn(evaluate=evaluate, every=every)
    curve, kept = learning_curve(run, passes), best[1]
    if not isinstance(kept, Tensor):
        torch.nn.ModuleList(run.model.routers).load_state_dict(kept)
        kept = run.model
    return Stopped(run, curve, int(curve["step"].iloc[best[0]]), kept)


def _copy(model: Tensor | Mixture) -> Tensor | dict[str, Tensor]:
    """Weights, or of a mixture what is learnt, in memory of its own."""
    if isinstance(model, Tensor):
        return model.clone()
    state = torch.nn.ModuleList(model.routers).state_dict()
    return {name: tensor.clone() for name, tensor in state.items()}


def best_of(runs: Mapping[object, Stopped]) -> object:
    """The key of the run whose best look is highest; the first of equals."""
    return max(runs, key=lambda key: round(float(runs[key].curve["accuracy"].max()), 9))


def entropy_change(run: Adapted, window: int = 5) -> pd.DataFrame:
    """For each task, over the first and over the last `window` steps, the mean entropy of the
    predictions and the mean number of classes that were predicted: columns task, entropy_before,
    entropy_after, classes_before, classes_after."""
    first = run.history["step"] <= run.history["step"].min() + window - 1
    last = run.history["step"] > run.history["step"].max() - window
    ends = {
        when: run.history[rows].groupby("task", sort=False)[["entropy", "classes"]].mean()
        for when, rows in (("before", first), ("after", last))
    }
    return _flat(pd.concat(ends, axis=1)).reset_index()


def changes(entropies: pd.DataFrame, before: Result, after: Result) -> pd.DataFrame:
    """Of each task the change of entropy and of accuracy: columns task, entropy, accuracy.

    `entropies` is the table of `entropy_change`; the change of accuracy is that from the model
    `before` to the model `after`.
    """
    found = entropies.set_index("task")
    accuracy = [pd.Series(result.by_task).loc[found.index] for result in (before, after)]
    change = found["entropy_after"] - found["entropy_before"]
    found = pd.DataFrame({"entropy": change, "accuracy": accuracy[1] - accuracy[0]})
    return found.rename_axis("task").reset_index()


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    table = table.sort_index(axis=1, level=1, sort_remaining=False)
    return table.set_axis([f"{name}_{when}" for when, name in table.columns], axis=1)


@torch.no_grad()
def uncertainty(
    bench: Workbench,
    vector: Tensor,
    split: str = "test",
    limit: int | None = None,
    tasks: Iterable[str] | None = None,
) -> pd.DataFrame:
    """One row an input: task, entropy H(p) and loss −log p_label in nats, right (bool).

    p are the class probabilities of the model with weights `vector` (P,), read through the task's
    own head, of the first `limit` inputs of each task's split. Raises KeyError or ValueError for an
    unknown task or split and for a limit below 1.
    """
    bench.encoder.eval()
    tables = []
    for task in bench.suite.names if tasks is None else tasks:
        data = inputs_of(bench, task, split, limit)
        batch = data.inputs.fit(vector.device)
        starts = range(0, len(data), batch)
        parts = [features(bench, vector, data.inputs[s : s + batch]) for s in starts]
        logits = bench.heads[task].to(vector.device)(torch.cat(parts)).double().cpu()
        losses = torch.nn.functional.cross_entropy(logits, data.labels, reduction="none")
        columns = {"entropy": entropy(logits), "loss": losses}
        right = logits.argmax(-1) == data.labels
        columns = {name: values.numpy() for name, values in {**columns, "right": right}.items()}
        tables.append(pd.DataFrame({"task": task, **columns}))
    return pd.concat(tables, ignore_index=True)


def uncertainty_by_scale(
    bench: Workbench, merge: Merge, scales: Sequence[float], **options
) -> pd.DataFrame:
    """Means of `uncertainty` of merge(scale=λ) for each λ: columns scale, task, entropy, loss,
    accuracy. `options` are those of `uncertainty`."""
    tables = []
    for scale in scales:
        table = uncertainty(bench, merge(scale=scale), **options)
        means = table.groupby("task", sort=False).mean().rename(columns={"right": "accuracy"})
        tables.append(means.reset_index().assign(scale=float(scale)))
    columns = ["scale", "task", "entropy", "loss", "accuracy"]
    return pd.concat(tables, ignore_index=True)[columns]


def rank_correlations(table: pd.DataFrame, a: str = "entropy", b: str = "loss") -> pd.Series:
    """Spearman's rank correlation of two columns in each task of a table; index: task.

    1 if one rises with the other; equal values share their mean rank. A column that is constant in
    a task has none: NaN.
    """
    found = table.groupby("task", sort=False)[[a, b]].corr(method="spearman")
    return found.xs(a, level=1)[b]


def binned(table: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Inputs of an `uncertainty` table in `bins` groups of about equal size by their entropy.

    One row a group, the surest first: n, and means entropy, loss, accuracy. Raises ValueError for
    fewer than one group or more groups than inputs.
    """
    if not 1 <= bins <= len(table):
        raise ValueError(f"{len(table)} inputs cannot be divided into {bins} groups")
    order = table.sort_values("entropy", kind="stable", ignore_index=True)
    group = np.arange(len(order)) * bins // len(order)
    means = order[["entropy", "loss", "right"]].groupby(group).mean()
    return means.rename(columns={"right": "accuracy"}).assign(n=np.bincount(group))


def least_by(table: pd.DataFrame, column: str) -> float:
    """The λ of an `uncertainty_by_scale` table where the mean over tasks of a column is least."""
    return float(table.groupby("scale")[column].mean().idxmin())


def most_by(table: pd.DataFrame, column: str) -> float:
    """The λ of such a table where the mean over tasks of a column is greatest."""
    return float(table.groupby("scale")[column].mean().idxmax())
