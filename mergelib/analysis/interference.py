"""The Task Consistency Property: does adding the other tasks' vectors leave a task alone?

    L_i(θ0 + λ Σ_j τ_j) − L_i(θ0 + λ τ_i) = 0   for every task i

(Xiong et al. 2024, arXiv 2411.18729: the merged model does on task i what the single edit does; the
Task Arithmetic Property of Ortiz-Jimenez et al. 2023 asks the same of the function itself). The
difference is the consistency gap. To first order it is

    λ Σ_{j≠i} ⟨∇L_i(θ0 + λ τ_i), τ_j⟩,                                      (predicted)

which vanishes if the gradient is orthogonal to the other tasks' vectors. The step from there to
orthogonal task vectors assumes that the gradient points against the task's own vector,
∇L_i = −κ_i τ_i. The constant that fits best (least squares) at the same point is
κ_i = −⟨∇L_i, τ_i⟩ / ‖τ_i‖², which gives

    −λ κ_i Σ_{j≠i} ⟨τ_i, τ_j⟩.                                              (crude)

The gap can be taken apart, too. With d = λ Σ_{j≠i} τ_j and L_i around θ0 + λ τ_i it is
L_i(+d) − L_i(0), the sum of what turning the other vectors round reverses and of what stays:

    odd  = (L_i(+d) − L_i(−d)) / 2             = ⟨∇L_i, d⟩ + O(‖d‖³)
    even = (L_i(+d) + L_i(−d)) / 2 − L_i(0)    = ½ dᵀ∇²L_i d + O(‖d‖⁴)

exactly, whatever the size of d. Orthogonality is an argument about the first; the second is
curvature, which has no sign to cancel.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from mergelib.analysis.losses import Outcome, Slope, Slopes, inputs_of, outcome, slopes
from mergelib.analysis.transfer import windows
from mergelib.merging import task_arithmetic
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.workbench import Workbench


def consistency(
    bench: Workbench, vectors: TaskVectors | Slopes | None = None, **options
) -> pd.DataFrame:
    """The consistency gap of each task i, measured and predicted (see the module).

    One row a task: task, n (inputs), alone and merged (mean cross-entropy in nats at θ0 + λ τ_i
    and at θ0 + λ Στ), gap (merged − alone) and error (its standard error over the inputs, which
    both models share), accuracy_alone, accuracy_merged, accuracy_gap (merged − alone), changed
    (the fraction of inputs whose predicted class changes), predicted, crude.

    `vectors` and `options` (scale, split, limit, tasks) are those of `slopes`; `tasks` chooses the
    rows; all vectors are merged, whatever it says. Slopes that were measured before may be given in
    place of vectors: their gradients are then not computed again. Raises what `slopes` raises.
    """
    at = _slopes(bench, vectors, options)
    merged = task_arithmetic(at.vectors, at.scale)
    rows = []
    for task, slope in at.tasks.items():
        after = outcome(bench, merged, task, inputs_of(bench, task, at.split, at.limit))
        others = [name for name in at.vectors.tasks if name != task]
        rows.append({"task": task, **_gap(slope, after), **_foreseen(at, task, others)})
    return pd.DataFrame(rows)


def interference_pairs(
    bench: Workbench, vectors: TaskVectors | Slopes | None = None, **options
) -> pd.DataFrame:
    """What each single other task j does to each task i: K(K − 1) rows.

    Columns: task (i), other (j), measured = L_i(θ0 + λ(τ_i + τ_j)) − L_i(θ0 + λ τ_i) with its
    standard error, predicted = λ⟨∇L_i(θ0 + λ τ_i), τ_j⟩, crude = −λ κ_i ⟨τ_i, τ_j⟩, cosine of τ_i
    and τ_j, alignment = cos(−∇L_i, τ_i): 1 where the gradient points against the task's own vector,
    as the crude prediction assumes. Arguments and errors are those of `consistency`.
    """
    at = _slopes(bench, vectors, options)
    cosines, deltas = at.vectors.cosines().cpu(), at.vectors.deltas
    rows = []
    for task, slope in at.tasks.items():
        data, i = inputs_of(bench, task, at.split, at.limit), at.vectors.tasks.index(task)
        for j, other in enumerate(at.vectors.tasks):
            if j == i:
                continue
            both = at.vectors.base + at.scale * (deltas[i] + deltas[j])
            found = _gap(slope, outcome(bench, both, task, data))
            rows.append(
                {
                    "task": task,
                    "other": other,
                    "measured": found["gap"],
                    "error": found["error"],
                    **_foreseen(at, task, [other]),
                    "cosine": float(cosines[i, j]),
                    "alignment": slope.alignment,
                }
            )
    return pd.DataFrame(rows)


def agreement(pairs: pd.DataFrame) -> dict[str, float]:
    """How well each column of `interference_pairs` foretells what was measured.

    Pearson's correlation of `measured` with `predicted` and with `crude`, which are amounts, and
    Spearman's with `cosine`, which claims only an order.
    """
    measured = pairs["measured"]
    found = {column: measured.corr(pairs[column]) for column in ("predicted", "crude")}
    return found | {"cosine": measured.corr(pairs["cosine"], method="spearman")}


def friendly_and_hostile(pairs: pd.DataFrame) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two tasks that raise each other's loss least, and the two that raise it most.

    Judged by the sum of `measured` in both directions; `pairs` is a table of `interference_pairs`.
    """
    both = pairs.assign(
        pair=[tuple(sorted(p)) for p in zip(pairs["task"], pairs["other"], strict=True)]
    )
    total = both.groupby("pair")["measured"].sum()
    return total.idxmin(), total.idxmax()


def gap_by_scale(
    bench: Workbench,
    scales: Iterable[float | Slopes],
    vectors: TaskVectors | None = None,
    **options,
) -> pd.DataFrame:
    """The table of `consistency` for each λ of `scales`, one under the other, with a column scale.

    At every λ the prediction starts from the gradient there. An element of `scales` may be
    slopes that were measured before instead of a number. Raises what `slopes` raises.
    """
    tables = []
    for scale in scales:
        known = isinstance(scale, Slopes)
        at = scale if known else slopes(bench, vectors, scale=scale, **options)
        table = consistency(bench, at)
        table.insert(0, "scale", at.scale)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def gap_by_count(
    bench: Workbench,
    vectors: TaskVectors | Slopes | None = None,
    sets: int = 2,
    **options,
) -> pd.DataFrame:
    """The gap of each task when 2, 3, … tasks are merged at one λ: `sets` sets of each size.

    One row a set and task: tasks (K), set (its first task) and the columns of `consistency`. The
    model of the task alone is the same in every set, so one gradient a task serves all of them.
    Other arguments and errors are those of `consistency`; with `tasks`, only these are merged.
    """
    at = _slopes(bench, vectors, options)
    names, rows = tuple(at.tasks), []
    for size in range(2, len(names) + 1):
        for chosen in windows(names, size, sets):
            scales = [at.scale if name in chosen else 0.0 for name in at.vectors.tasks]
            merged = task_arithmetic(at.vectors, scales)
            for task in chosen:
                after = outcome(bench, merged, task, inputs_of(bench, task, at.split, at.limit))
                others = [name for name in chosen if name != task]
                where = {"tasks": size, "set": chosen[0], "task": task}
                rows.append({**where, **_gap(at.tasks[task], after), **_foreseen(at, task, others)})
    return pd.DataFrame(rows)


def _slopes(bench: Workbench, vectors: TaskVectors | Slopes | None, options: dict) -> Slopes:
    if not isinstance(vectors, Slopes):
        return slopes(bench, vectors, **options)
    if options:
        raise ValueError(
            "slopes measured before bring their own scale, split, limit and tasks; "
            f"{', '.join(options)} cannot be given beside them"
        )
    return vectors


def _gap(slope: Slope, merged: Outcome) -> dict[str, float]:
    """The measured columns: the merged model against the task alone, on the same inputs."""
    alone, n = slope.alone, len(merged.losses)
    difference = merged.losses.double() - alone.losses.double()
    deviation = float(difference.std()) if n > 1 else float("nan")
    return {
        "n": n,
        "alone": alone.loss,
        "merged": merged.loss,
        "gap": float(difference.mean()),
        "error": deviation / n**0.5,
        "accuracy_alone": alone.accuracy,
        "accuracy_merged": merged.accuracy,
        "accuracy_gap": merged.accuracy - alone.accuracy,
        "changed": alone.changed(merged),
    }


def _foreseen(at: Slopes, task: str, others: Sequence[str]) -> dict[str, float]:
    """The predicted columns for `task` when the vectors of `others` are added to its own."""
    slope, i = at.tasks[task], at.vectors.tasks.index(task)
    added = [at.vectors.tasks.index(name) for name in others]
    inner = float(at.gram[i, added].sum())
    return {
        "predicted": at.scale * float(slope.along[added].sum()),
        "crude": -at.scale * slope.kappa * inner,
    }


def reversal(bench: Workbench, at: Slopes) -> pd.DataFrame:
    """One row a task of `at` (the result of `slopes`): task, scale, gap, odd, even, in nats.

    Measured on the inputs of `at`: two models a task beside the one of the task alone.
    """
    rows, total = [], at.vectors.sum()
    for task, slope in at.tasks.items():
        data, own = inputs_of(bench, task, at.split, at.limit), at.vectors[task].deltas[0]
        middle = at.vectors.base + at.scale * own
        others = at.scale * (total - own)
        forth, back = (outcome(bench, middle + s * others, task, data).loss for s in (1, -1))
        odd, even = (forth - back) / 2, (forth + back) / 2 - slope.alone.loss
        rows.append({"task": task, "scale": at.scale, "gap": odd + even, "odd": odd, "even": even})
    return pd.DataFrame(rows)


def gap_parts(bench: Workbench, kinds: Mapping[str, TaskVectors], **options) -> pd.DataFrame:
    """Mean gap, odd and even part over the tasks for several sets of vectors: one row a kind.

    `options` (scale, split, limit) are those of `slopes`. Each kind is compared with itself: the
    single edits are those of its own vectors.
    """
    rows = {}
    for name, vectors in kinds.items():
        parts = reversal(bench, slopes(bench, vectors, **options))
        rows[name] = parts[["gap", "odd", "even"]].mean()
    return pd.DataFrame(rows).T.rename_axis("vectors")
