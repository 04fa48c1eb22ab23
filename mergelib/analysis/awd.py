"""AWD taken apart: what its α does, which weights it amounts to, which trait of δ acts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.analysis.geometry import off_diagonal
from mergelib.merging import awd, task_arithmetic
from mergelib.merging.awd.report import Disentangled
from mergelib.vectors.task_vectors import TaskVectors
from mergelib.workbench import Workbench, best_scale


def by_alpha(
    bench: Workbench, alphas: Sequence[float], scales: Sequence[float], limit: int | None = None
) -> pd.DataFrame:
    """Whole-model AWD with each α, one row an α.

    Columns: |cos| (the mean over pairs of disentangled vectors), length (‖δ‖ over the mean ‖τ‖),
    λ (best on val) and val (the mean accuracy there, on the first `limit` inputs a task).
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


def awd_weights(apart: Disentangled) -> Tensor:
    """w (K, n), float64, with Σ_k (τ_k − δ) = Σ_k w_k[s] τ_k in each of the n groups of AWD.

    With δ = Σ_k c_k τ_k that is w_k = 1 − K c_k: summing disentangled vectors is weighting the
    original ones. Raises ValueError if δ has a part outside the span of the task vectors.
    """
    if bool((apart.report.outside > 1e-6 * apart.norms().max()).any()):
        raise ValueError("δ lies partly outside the span of the task vectors: no weights make it")
    return (1 - len(apart) * apart.report.coefficients).T


def shared_weights(apart: Disentangled) -> pd.DataFrame:
    """`awd_weights` of whole-model AWD as a table, one row a task: c and weight = 1 − K c."""
    weights = awd_weights(apart)[:, 0].numpy()
    index = pd.Index(apart.tasks, name="task")
    return pd.DataFrame({"c": (1 - weights) / len(apart), "weight": weights}, index=index)


def coefficient_pairs(sets: Mapping[str, Tensor], tv: TaskVectors) -> pd.DataFrame:
    """One row a task and tensor: task, tensor, and a column for each set of coefficients (K, n).

    Raises ValueError for a set that is not one number a task and tensor.
    """
    names, shape = tv.layout.names, (len(tv), len(tv.layout.names))
    tables = {}
    for label, values in sets.items():
        if tuple(values.shape) != shape:
            raise ValueError(f"{label} must be of shape {shape}, not {tuple(values.shape)}")
        tables[label] = pd.DataFrame(values.cpu().numpy(), tv.tasks, names).stack()
    return pd.DataFrame(tables).rename_axis(["task", "tensor"]).reset_index()


@dataclass(frozen=True)
class Dissection:
    """Shares and variants of δ.

    length     ‖δ‖ over the mean ‖τ_k‖
    inside     the share of ‖δ‖ that lies in the span of the task vectors
    agreement  the fraction of coordinates in which δ has the sign of Στ (those where either is
               zero are left out)
    variants   name → δ' (P,)
    """

    length: float
    inside: float
    agreement: float
    variants: dict[str, Tensor]


def dissect(tv: TaskVectors, redundant: Tensor, seed: int = 0) -> Dissection:
    """Take δ = `redundant` (P,) apart. The variants, each with one trait of δ:

    δ                 δ itself
    inside the span   its orthogonal projection on span{τ_k}
    outside the span  the rest of it
    signs of Στ       sign(Στ), stretched to the length of δ
    |δ|, signs of Στ  the magnitudes of δ with the signs of Στ
    random            a normal random vector (`seed`) of the length of δ

    Raises ValueError for a δ that is zero, which has no traits.
    """
    length = float(redundant.double().norm())
    if length == 0:
        raise ValueError("a redundant vector of zeros cannot be taken apart")
    products = torch.stack([redundant.double() @ tau.double() for tau in tv.deltas]).cpu()
    shares = torch.linalg.lstsq(tv.gram().cpu(), products.unsqueeze(1), driver="gelsd").solution
    inside = (shares.squeeze(1).to(tv.deltas) @ tv.deltas).to(redundant)
    signs = tv.sum().sign()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(redundant), generator=generator).to(redundant)
    both = (signs != 0) & (redundant != 0)
    return Dissection(
        length=length / float(tv.norms().mean()),
        inside=float(inside.double().norm()) / length,
        agreement=float((signs == redundant.sign())[both].double().mean()),
        variants={
            "δ": redundant,
            "inside the span": inside,
            "outside the span": redundant - inside,
            "signs of Στ": signs * (length / float(signs.double().norm())),
            "|δ|, signs of Στ": redundant.abs() * signs,
            "random": noise * (length / float(noise.double().norm())),
        },
    )
