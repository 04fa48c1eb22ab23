"""Taking a redundant vector δ apart: which of its traits does what it does?

Each variant is a δ' (P,) that keeps one trait of δ and drops the rest, to be subtracted from every
task vector in δ's place: Σ_k (τ_k − δ') = Στ − K δ'.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mergelib.task_vectors import TaskVectors


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
    """δ itself; its orthogonal projection on span{τ_k} and the rest; sign(Στ), the magnitudes
    |δ| with the signs of Στ, and a random vector, the first and the last at the length of δ.

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
