"""What AWD's settings do: its α, and the time of its solvers."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from mergelib.analysis.geometry import off_diagonal
from mergelib.merging import awd, task_arithmetic
from mergelib.workbench import Workbench, best_scale


def by_alpha(
    bench: Workbench, alphas: Sequence[float], scales: Sequence[float], limit: int | None = None
) -> pd.DataFrame:
    """Whole-model AWD with each α, one row an α.

    Columns: |cos| (the mean over pairs of disentangled vectors), length (‖δ‖ over the mean ‖τ‖),
    λ (best on val) and val (the mean accuracy there, on the first `limit` images a task).
    """
    rows, norm = [], float(bench.tv.norms().mean())
    for alpha in alphas:
        clean = awd(bench.tv, alpha=alpha)
        sweep = bench.sweep(partial(task_arithmetic, clean), scales, split="val", limit=limit)
        scale = best_scale(sweep)
        rows.append(
            {
                "α": float(alpha),
                "|cos|": float(np.abs(off_diagonal(clean.cosines().cpu())).mean()),
                "length": float(clean.redundant.double().norm()) / norm,
                "λ": scale,
                "val": float(sweep.loc[scale].mean()),
            }
        )
    return pd.DataFrame(rows).set_index("α")


def trajectory(run) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and objective after each step of a whole-model descent, (steps,) each.

    `run` is what `awd` returns with solver="descent"; its steps take equally long.
    """
    values = run.report.trajectory[1:, 0].numpy()
    return run.report.seconds_per_step * np.arange(1, len(values) + 1), values
