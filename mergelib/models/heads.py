"""Classification heads: fixed class vectors on unit-length features.

logits = W f/‖f‖ + b. A head is never merged and never trained with an encoder: either it is a
linear probe of the base (the small suites; Kumar et al. 2022 fine-tune after probing), or it
holds CLIP's text embeddings of the class names (the papers' suite; Radford et al. 2021, §3.1).
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

PROBE_STRENGTHS = (1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Head:
    """Weights (C, d) and biases (C,) of C classes on d-dimensional unit-length features."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (B, C) of features (B, d), which are normalised here."""
        return F.normalize(features.float(), dim=-1) @ self.weight.T + self.bias

    def to(self, device) -> "Head":
        return Head(self.weight.to(device), self.bias.to(device))


def linear_probe(train_features, train_labels, val_features, val_labels, classes: int) -> Head:
    """Multinomial logistic regression (scikit-learn, L2) on unit-length features.

    The inverse regularisation C is the one of `PROBE_STRENGTHS` with the best accuracy on val.
    Features are (N, d), labels (N,); every class must occur in train, else ValueError.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    x, y = F.normalize(train_features, dim=1).double().numpy(), train_labels.numpy()
    missing = sorted(set(range(classes)) - set(y.tolist()))
    if missing:
        raise ValueError(f"a linear probe needs every class in train; classes {missing} are absent")
    val_x, val_y = F.normalize(val_features, dim=1).double().numpy(), val_labels.numpy()
    best, best_score = None, -1.0
    for strength in PROBE_STRENGTHS:
        with threadpool_limits(1), warnings.catch_warnings():
            # These products are too small for several threads, which only wait for each other.
            # 300 steps are the recipe; whether the last digits have settled is irrelevant.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=strength, max_iter=300).fit(x, y)
        score = model.score(val_x, val_y)
        if score > best_score:
            best, best_score = model, score
    weight, bias = best.coef_, best.intercept_
    if classes == 2:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    parts = (torch.from_numpy(np.ascontiguousarray(x)).float() for x in (weight, bias))
    return Head(*parts)


def zero_shot_head(encode_text, classes, templates, logit_scale: float) -> Head:
    """CLIP's zero-shot head: per class the mean of the templates' unit-length text embeddings,
    normalised again, times exp(logit_scale) (`logit_scale` is that factor, 100 for CLIP).

    `encode_text` maps a list of n captions to (n, d) embeddings.
    """
    rows = []
    for name in classes:
        e = F.normalize(encode_text([t.format(name) for t in templates]).float(), dim=1)
        rows.append(F.normalize(e.mean(dim=0), dim=0))
    weight = logit_scale * torch.stack(rows)
    return Head(weight, torch.zeros(len(weight), device=weight.device))
