"""What interference costs as more tasks are merged."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from mergelib.merging import task_arithmetic
from mergelib.task_vectors import TaskVectors
from mergelib.workbench import Workbench, best_scale


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
    (accuracy on test / `expert`). `transform` is applied to the task vectors of each set before
    they are added (AWD, say). For K = 1 the best candidate should be λ = 1, the expert.
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
    rows = {name: t.groupby("tasks")["normalised"].mean() for name, t in tables.items()}
    return pd.DataFrame(rows).T.rename_axis("method")
