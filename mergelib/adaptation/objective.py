"""The objective that needs no labels: how unsure a model is of its own predictions."""

import torch
import torch.nn.functional as F
from torch import Tensor


def entropy(logits: Tensor) -> Tensor:
    """H(p) = −Σ_c p_c log p_c with p = softmax(logits), in nats: logits (B, C) → (B,).

    From log-softmax, so that probabilities of 0 give 0 and not NaN. Shannon entropy as an
    objective at test time: Wang et al. 2021, "Tent"; for merging: Yang et al. 2024,
    "AdaMerging", section 3.2.2.
    """
    log_p = F.log_softmax(logits, dim=-1)
    # Where a class is impossible, −∞ · 0 counts as 0.
    return -(log_p.exp() * log_p.clamp_min(torch.finfo(log_p.dtype).min)).sum(-1)


def mean_entropy(logits: Tensor) -> Tensor:
    """The mean of H over a batch, a number. The objective is its sum over the tasks."""
    return entropy(logits).mean()


def effective_classes(counts: Tensor) -> Tensor:
    """exp(H(q)), q the shares of `counts` (…, C): on how many classes predictions fall, 1 … C."""
    share = counts.double() / counts.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()
