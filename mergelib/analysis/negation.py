"""Forgetting by negation: θ0 − λ τ (Ilharco et al. 2023, §3)."""

from collections.abc import Sequence

import pandas as pd

from mergelib.workbench import Workbench


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
    others_after. `limit` bounds the images of val and test.
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
