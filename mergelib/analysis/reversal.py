"""The consistency gap in two parts: what turning the other vectors round reverses, and what stays.

With d = λ Σ_{j≠i} τ_j and L_i around θ0 + λ τ_i, the gap is L_i(+d) − L_i(0). It is the sum of

    odd  = (L_i(+d) − L_i(−d)) / 2             = ⟨∇L_i, d⟩ + O(‖d‖³)
    even = (L_i(+d) + L_i(−d)) / 2 − L_i(0)    = ½ dᵀ∇²L_i d + O(‖d‖⁴)

exactly, whatever the size of d. Orthogonality is an argument about the first; the second is
curvature, which has no sign to cancel.
"""

from collections.abc import Mapping

import pandas as pd

from mergelib.analysis.losses import images_of, outcome
from mergelib.analysis.slopes import Slopes, slopes
from mergelib.task_vectors import TaskVectors
from mergelib.workbench import Workbench


def reversal(bench: Workbench, at: Slopes) -> pd.DataFrame:
    """One row a task of `at` (the result of `slopes`): task, scale, gap, odd, even, in nats.

    Measured on the images of `at`: two models a task beside the one of the task alone.
    """
    rows, total = [], at.vectors.sum()
    for task, slope in at.tasks.items():
        data, own = images_of(bench, task, at.split, at.limit), at.vectors[task].deltas[0]
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
