"""What a learnt mask keeps, what it does to the experts, and how far its draws differ."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.concrete import Concrete
from mergelib.adaptation.mask import KINDS
from mergelib.analysis.geometry import places
from mergelib.vectors.layout import Layout
from mergelib.workbench import Workbench


def relaxed_density(m, logit: float, temperature: float) -> np.ndarray:
    """The density at m ∈ (0, 1) of σ((x + log u − log(1 − u)) / T), u ~ U(0, 1), x = `logit`.

    With a = eˣ: T a m^(−T−1) (1 − m)^(−T−1) / (a m^(−T) + (1 − m)^(−T))² (Maddison et al. 2017,
    "The Concrete distribution", section 3.1). Raises ValueError unless `temperature` > 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    m = np.asarray(m, dtype=float)
    # With s = T logit(m) − x: T σ′(s) / (m (1 − m)), which is free of overflow.
    s = temperature * (np.log(m) - np.log1p(-m)) - logit
    return temperature / (4 * np.cosh(s / 2) ** 2 * m * (1 - m))


def kept_by_tensor(layout: Layout, logits: Tensor) -> pd.DataFrame:
    """`places` with two columns more: probability, the mean over a tensor of P(m > ½) = σ(x), and
    kept, the share of its weights that the binary mask (x ≥ 0) keeps.

    The masks that are used cannot show this: they are divided by their mean in each tensor.
    """
    parts = logits.detach().double().cpu().split(layout.sizes)
    return places(layout).assign(
        probability=[float(x.sigmoid().mean()) for x in parts],
        kept=[float((x >= 0).double().mean()) for x in parts],
    )


def kept_by_magnitude(
    layout: Layout, logits: Tensor, direction: Tensor, bins: int = 10
) -> pd.DataFrame:
    """Mean mask probability σ(x) of weights in `bins` groups by the magnitude of `direction`.

    Magnitudes (P,) are ranked within each tensor, as the mask is rescaled there; group 1 holds the
    smallest of every tensor, and a tensor of fewer than `bins` weights is left out. One row a
    group: group, n, probability, share (of Σ direction² in those tensors; 0 where that is 0).
    Raises ValueError for fewer than 2 groups.
    """
    if bins < 2:
        raise ValueError(f"at least 2 groups are needed, not {bins}")
    chance = logits.detach().double().sigmoid().cpu()
    squares = direction.detach().double().square().cpu()
    sums = torch.zeros(3, bins, dtype=torch.float64)
    for start, stop in zip(layout.offsets, layout.offsets[1:], strict=False):
        if stop - start < bins:
            continue
        order = squares[start:stop].argsort(stable=True)
        group = torch.empty_like(order)
        group[order] = torch.arange(stop - start) * bins // (stop - start)
        values = torch.stack([torch.ones_like(chance[start:stop]), chance[start:stop],
                              squares[start:stop]])  # fmt: skip
        sums.index_add_(1, group, values)
    count, total, square = sums.numpy()
    return pd.DataFrame(
        {
            "group": np.arange(1, bins + 1),
            "n": count.astype(int),
            "probability": total / count,
            "share": square / max(square.sum(), np.finfo(float).tiny),
        }
    )


def masked_experts(
    bench: Workbench,
    mask: Tensor,
    others: Mapping[str, Tensor] | None = None,
    **options,
) -> pd.DataFrame:
    """Every expert on its own task, whole and with its task vector masked: θ0 + τ and θ0 + r ⊙ τ.

    One row a task: task, n, expert, masked, and a column for every other mask (P,) in `others`
    (label → mask). `options` are those of `evaluate` (split, limit).
    """
    masks = {"masked": mask, **(others or {})}
    rows = []
    for task, delta in zip(bench.tv.tasks, bench.tv.deltas, strict=True):
        whole = bench.evaluate(bench.tv.base + delta, tasks=[task], **options).iloc[0]
        row = {"task": task, "n": int(whole["n"]), "expert": whole["accuracy"]}
        for label, r in masks.items():
            vector = torch.addcmul(bench.tv.base, r, delta)
            row[label] = bench.evaluate(vector, tasks=[task], **options)["accuracy"].iloc[0]
        rows.append(row)
    return pd.DataFrame(rows)


def deployments(bench: Workbench, learnt: Concrete, draws: int = 5, **options) -> pd.DataFrame:
    """The `evaluate` tables of a Concrete result with its masks of every kind, in one table.

    Columns kind, draw and those of `evaluate`. Of kind "sample" there are `draws` random masks
    (seeds 0, 1, …), of the others one. `options` are those of `evaluate`.
    """
    tables = []
    for kind in KINDS:
        for draw in range(draws if kind == "sample" else 1):
            table = bench.evaluate(learnt.weights(kind, seed=draw), **options)
            tables.append(table.assign(kind=kind, draw=draw))
    return pd.concat(tables, ignore_index=True)


def deployment_spread(table: pd.DataFrame) -> pd.DataFrame:
    """One row a kind of mask in a `deployments` table: mean, std, min, max.

    They are those of the draws' accuracies, each the mean over the tasks; of a kind with one draw
    std is NaN, min and max are its accuracy.
    """
    by_draw = table.groupby(["kind", "draw"], sort=False)["accuracy"].mean()
    return by_draw.groupby("kind", sort=False).agg(["mean", "std", "min", "max"])
