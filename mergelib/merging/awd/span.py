"""K task vectors as points in K + 1 coordinates, from their inner products alone."""

from typing import NamedTuple

import torch
from torch import Tensor

_NOISE = 1e-13  # K times this: a cosine matrix's eigenvalue that may be rounding


class Span(NamedTuple):
    """Task vectors of n groups as points in K + 1 coordinates, in a group's own unit of length.

    points (n, K, K + 1): isometric to τ_k / scale; the last coordinate, 0 for all of them, is the
    direction outside the span. scale (n,): the geometric mean of the norms that are not zero.
    free (n, K + 1): the coordinates that the group really has (the span may have fewer than K
    dimensions, and a group of few weights no direction outside it). dual (n, K, K): its column m
    holds the c with which Σ_k c_k τ_k / scale is coordinate m's unit vector.
    """

    points: Tensor
    scale: Tensor
    free: Tensor
    dual: Tensor

    @classmethod
    def of_gram(cls, gram: Tensor, sizes: Tensor) -> "Span":
        """From Gram matrices (n, K, K) float64 of groups of `sizes` (n,) coordinates.

        The cosine matrix is factored, not the Gram matrix, so that a short vector beside a long
        one is as exact as any other.
        """
        norms = gram.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
        present = norms > 0
        inverse = torch.where(present, 1 / norms, 0.0)
        cosines = gram * inverse.unsqueeze(-1) * inverse.unsqueeze(-2)
        values, axes = torch.linalg.eigh(cosines)
        real = values > _NOISE * gram.shape[-1]
        roots = torch.where(real, values, 0.0).sqrt()
        logs = torch.where(present, norms, 1.0).log().sum(-1)
        scale = (logs / present.sum(-1).clamp_min(1)).exp()
        lengths = (norms / scale.unsqueeze(-1)).unsqueeze(-1)
        points = torch.nn.functional.pad(lengths * axes * roots.unsqueeze(-2), (0, 1))
        dual = torch.where(real, 1 / roots, 0.0).unsqueeze(-2) * axes
        dual = dual * scale[:, None, None] * inverse.unsqueeze(-1)
        room = sizes.to(gram.device) > real.sum(-1)
        return cls(points, scale, torch.cat([real, room.unsqueeze(-1)], -1), dual)

    def coefficients(self, z: Tensor) -> Tensor:
        """c (n, K) with Σ_k c_k τ_k / scale = z in all coordinates but the last; z (n, K + 1)."""
        return (self.dual @ z[:, :-1].unsqueeze(-1)).squeeze(-1)

    def project(self, products: Tensor) -> Tensor:
        """c (n, K) of the vector in the span nearest to one with ⟨τ_k, ·⟩ = `products` (n, K)."""
        along = (self.dual.mT @ products.unsqueeze(-1)).squeeze(-1)
        z = along / self.scale.unsqueeze(-1).square()
        return self.coefficients(torch.nn.functional.pad(z, (0, 1)))
