"""What one task's vector does to the other tasks."""

from collections.abc import Mapping, Sequence

import pandas as pd

from mergelib.workbench import Workbench, best_scale


def expert_tables(
    bench: Workbench, split: str = "test", others_limit: int | None = None
) -> dict[str, pd.DataFrame]:
    """The `evaluate` tables of θ0 (under `base`) and of every expert θ0 + τ, on all tasks.

    Each task is read through its own head, whatever the encoder was fine-tuned on. An expert is
    measured on all images of its own task and on the first `others_limit` of every other.
    """
    tables, names = {"base": bench.evaluate(split=split)}, list(bench.suite.names)
    for name in names:
        options = [{"tasks": [name]}]
        options += [{"tasks": [n], "limit": others_limit} for n in names if n != name]
        rows = [bench.evaluate(bench.expert(name), split=split, **o) for o in options]
        tables[name] = pd.concat(rows).set_index("task").loc[names].reset_index()
    return tables


def accuracy_by_model(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a model, one column a task: the accuracies of `expert_tables`."""
    return pd.DataFrame({k: t.set_index("task")["accuracy"] for k, t in tables.items()}).T


def own_task(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The table of the experts, each on its own task (the diagonal of `expert_tables`)."""
    rows = [tables[name][tables[name]["task"] == name] for name in tables["base"]["task"]]
    return pd.concat(rows, ignore_index=True)


def stored(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[dict]]:
    """Tables as plain records, for `study.record`; `restored` is the way back."""
    kept = {k: t.drop(columns="normalised", errors="ignore") for k, t in tables.items()}
    return {k: t.to_dict("records") for k, t in kept.items()}


def restored(records: Mapping[str, list[dict]]) -> dict[str, pd.DataFrame]:
    """The tables that an earlier chapter `stored`."""
    return {k: pd.DataFrame(rows).assign(normalised=float("nan")) for k, rows in records.items()}


def by_task(table: pd.DataFrame) -> dict[str, float]:
    """The accuracies of an `evaluate` table, by task."""
    return dict(zip(table["task"], table["accuracy"], strict=True))


def forgotten(matrix: pd.DataFrame) -> pd.Series:
    """Per expert, base accuracy minus its own, averaged over the tasks it was not trained on."""
    base, experts = matrix.loc["base"], matrix.drop(index="base")
    return pd.Series(
        {name: float((base - row).drop(index=name).mean()) for name, row in experts.iterrows()}
    )


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
