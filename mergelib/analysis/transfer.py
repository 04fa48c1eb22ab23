"""What task vectors do to the other tasks: one, its negative, and more and more of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from mergelib.analysis.comparison import answered_right
from mergelib.analysis.result import Result
from mergelib.merging import task_arithmetic
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.workbench import Workbench, best_scale


def expert_results(
    bench: Workbench, split: str = "test", others_limit: int | None = None
) -> dict[str, Result]:
    """What θ0 (under `base`) and every expert θ0 + τ (under its task) get right on all tasks.

    Each task is read through its own head, whatever the encoder was fine-tuned on. An expert is
    measured on all inputs of its own task and on the first `others_limit` of every other.
    """
    names = bench.suite.names
    results = {"base": Result(answered_right(bench, bench.tv.base, split))}
    for name in names:
        limits = {other: None if other == name else others_limit for other in names}
        right = {}
        for task, limit in limits.items():
            right |= answered_right(bench, bench.expert(name), split, limit, [task])
        results[name] = Result(right)
    return results


def accuracy_by_model(results: Mapping[str, Result]) -> pd.DataFrame:
    """One row a model, one column a task: the accuracies of `expert_results`."""
    return pd.DataFrame({key: result.by_task for key, result in results.items()}).T


def own_task(results: Mapping[str, Result]) -> Result:
    """The experts, each on its own task (the diagonal of `expert_results`)."""
    return Result({task: results[task].right[task] for task in results["base"].right})


def forgotten(results: Mapping[str, Result]) -> pd.Series:
    """Per expert of `expert_results`, base accuracy minus its own on the same inputs, averaged over
    the tasks it was not trained on."""
    base, lost = results["base"].right, {}
    for name, result in results.items():
        others = {task: r for task, r in result.right.items() if task != name}
        apart = [base[t][: len(r)].double().mean() - r.double().mean() for t, r in others.items()]
        lost[name] = float(sum(apart) / len(apart))
    return pd.Series(lost).drop("base")


def borrowed(
    bench: Workbench,
    group: Sequence[str],
    scales: Sequence[float],
    limit: int | None = None,
) -> pd.DataFrame:
    """For each task of a group, the model made of the *other* tasks' vectors only:
    θ0 + λ Σ_{j ≠ i} τ_j, with λ chosen on val of task i (0 among the candidates).

    Columns: task, sources, scale, base, borrowed, expert, n (test accuracies). It is the
    nearest thing to the analogies of Ilharco et al. (2023, §5) for tasks that share a label
    set but no paired domains: does the direction learnt elsewhere help without any data?
    """
    rows = []
    for task in group:
        sources = [name for name in group if name != task]
        merge = bench.along(bench.tv[sources].sum())
        grid = [0.0, *(s for s in scales if s > 0)]
        scale = best_scale(bench.sweep(merge, grid, split="val", tasks=[task], limit=limit))
        found = [
            bench.evaluate(vector, tasks=[task]).iloc[0]
            for vector in (bench.tv.base, merge(scale=scale), bench.expert(task))
        ]
        rows.append(
            {
                "task": task,
                "sources": " + ".join(sources),
                "scale": scale,
                "base": found[0]["accuracy"],
                "borrowed": found[1]["accuracy"],
                "low": found[1]["low"],
                "high": found[1]["high"],
                "expert": found[2]["accuracy"],
                "n": int(found[0]["n"]),
            }
        )
    return pd.DataFrame(rows)


def negation(
    bench: Workbench,
    scales: Sequence[float],
    keep: float = 0.95,
    limit: int | None = None,
    targets: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row a task to forget: the model θ0 − λ τ of that task, measured on test.

    λ is the candidate with the lowest val accuracy on the target among those whose mean val
    accuracy on the other tasks is at least `keep` of the base's; λ = 0 (nothing is forgotten)
    always qualifies. Columns: task, scale, target_before, target_after, others_before,
    others_after. `limit` bounds the inputs of val and test.
    """
    rows = []
    base = {s: bench.evaluate(split=s, limit=limit).set_index("task") for s in ("val", "test")}
    for target in targets or bench.suite.names:
        forget = bench.along(-bench.tv[target].deltas[0])
        grid = [s for s in scales if s > 0]
        sweep = bench.sweep(forget, grid, split="val", limit=limit)
        sweep.loc[0.0] = base["val"]["accuracy"]
        others = sweep.drop(columns=target).mean(axis=1)
        allowed = sweep[others >= keep * others.loc[0.0]]
        scale = float(allowed[target].idxmin())
        after = bench.evaluate(forget(scale=scale), limit=limit).set_index("task")["accuracy"]
        before = base["test"]["accuracy"]
        rows.append(
            {
                "task": target,
                "scale": scale,
                "target_before": before[target],
                "target_after": after[target],
                "others_before": before.drop(target).mean(),
                "others_after": after.drop(target).mean(),
            }
        )
    return pd.DataFrame(rows)


def windows(names: Sequence[str], size: int, count: int) -> list[tuple[str, ...]]:
    """`count` subsets of `size` names: runs of the cyclic order, starts spread evenly.

    Every name is in about the same number of subsets; of the whole set there is one only.
    """
    n = len(names)
    if not 1 <= size <= n:
        raise ValueError(f"a subset of {size} of {n} tasks does not exist")
    starts = sorted({round(i * n / count) % n for i in range(count)}) if size < n else [0]
    return [tuple(names[(start + i) % n] for i in range(size)) for start in starts]


def growth(
    bench: Workbench,
    expert: Mapping[str, float],
    scales: Sequence[float],
    sets: int = 2,
    val_limit: int = 150,
    test_limit: int = 400,
    smallest: int = 1,
    transform: Callable[[TaskVectors], TaskVectors] | None = None,
) -> pd.DataFrame:
    """Task arithmetic on K = `smallest` … all tasks, λ chosen on val for each set of tasks.

    One row a set and task: tasks (K), set (its first task), task, scale, accuracy, normalised
    (accuracy on test / `expert`, the experts' own, which should be of the same inputs).
    `transform` is applied to the task vectors of each set before they are added (AWD, say). For
    K = 1 the best candidate should be λ = 1, the expert.
    """
    names, rows = bench.suite.names, []
    for size in range(smallest, len(names) + 1):
        for chosen in windows(names, size, sets):
            vectors = bench.tv[list(chosen)]
            vectors = vectors if transform is None else transform(vectors)
            merge = partial(task_arithmetic, vectors)
            val = bench.sweep(merge, scales, split="val", tasks=chosen, limit=val_limit)
            scale = best_scale(val)
            test = bench.evaluate(merge(scale=scale), tasks=chosen, expert=expert, limit=test_limit)
            for row in test.itertuples():
                rows.append(
                    {
                        "tasks": size,
                        "set": chosen[0],
                        "task": row.task,
                        "scale": scale,
                        "accuracy": row.accuracy,
                        "normalised": row.normalised,
                    }
                )
    return pd.DataFrame(rows)


def mean_by_count(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a method, one column a number K of tasks: the mean `normalised` of `growth`."""
    rows = {key: table.groupby("tasks")["normalised"].mean() for key, table in tables.items()}
    return pd.DataFrame(rows).T.rename_axis("method")
