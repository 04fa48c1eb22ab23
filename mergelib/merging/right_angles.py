"""The point from which K given points are seen at right angles, as nearly as its distance allows.

Minimise over z, for many groups of points at once,

    f(z) = mean_{i≠j} |cos(t_i − z, t_j − z)| + α ‖z‖₂ .

This is the problem of Adaptive Weight Disentanglement (mergelib.merging.awd) in the at most K + 1
coordinates that it really has. |·| and ‖·‖ have kinks, where the minima like to lie; they are
replaced by √(x² + ε²), and ε goes to zero while Newton's method with a trust region follows the
minimum, from several starts. What is returned is judged by the objective with its kinks.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

SMOOTHING = tuple(10.0**-k for k in range(1, 10))
STEPS = 40  # Newton steps at most for one ε
SELECT = 3  # after so many values of ε, only the KEPT best starts go on
KEPT = 2
_TINY = 1e-150
_CHUNK = 1 << 15  # problems (groups × starts) at once


def pair_weights(points: Tensor) -> Tensor:
    """1 / (number of pairs i ≠ j) for pairs of points that are not zero, else 0. (n, K, K).

    A zero point is a task that leaves this group of weights alone: it has no direction.
    """
    present = (points != 0).any(-1).to(points.dtype)
    pairs = present.unsqueeze(-1) * present.unsqueeze(-2)
    pairs = pairs - torch.diag_embed(present)
    return pairs / pairs.sum((-1, -2), keepdim=True).clamp_min(1)


def objective(points: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
    """f(z) of each problem: points (n, K, D), z (n, D), alpha (n,); (n,) float64."""
    cosines, _, _ = _cosines(points, z)
    return (pair_weights(points) * cosines.abs()).sum((-1, -2)) + alpha * z.norm(dim=-1)


def minimise(points: Tensor, alpha: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """The best z (n, D) found for each problem and the number of Newton steps it took (n,).

    points (n, K, D) float64 of about unit length; alpha (n,); free (n, D) bool: coordinates
    outside it stay zero. z = 0 is always among the candidates.
    """
    if not len(points):
        return points.new_zeros(points[:, 0].shape), torch.zeros(0, dtype=torch.long)
    starts = len(list(_starts(points[:1], free[:1])))
    parts = [
        _minimise_some(*part)
        for part in zip(
            *(x.split(max(1, _CHUNK // starts)) for x in (points, alpha, free)), strict=True
        )
    ]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def _minimise_some(points: Tensor, alpha: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    z = torch.stack(list(_starts(points, free)))  # (S, n, D)
    steps = torch.zeros(len(points), dtype=torch.long)
    for stage, eps in enumerate(SMOOTHING):
        many = [x.expand(len(z), *x.shape).flatten(0, 1) for x in (points, alpha, free)]
        found, taken = _descend(many[0], z.flatten(0, 1), many[1], many[2], eps)
        z, steps = found.view_as(z), steps + taken.view(z.shape[:2]).sum(0)
        if stage + 1 == SELECT:
            value = _each(points, z, alpha)
            best = value.argsort(0)[:KEPT].unsqueeze(-1).expand(-1, -1, z.shape[-1])
            z = z.gather(0, best)
    z = torch.cat([torch.zeros_like(z[:1]), z])
    best = _each(points, z, alpha).argmin(0)
    return z[best, torch.arange(len(points))], steps


def _each(points: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
    """Objectives (S, n) of S candidates for each problem."""
    return torch.stack([objective(points, candidate, alpha) for candidate in z])


def _starts(points: Tensor, free: Tensor) -> Iterator[Tensor]:
    """Near zero, along the mean in both directions, and four fixed random directions."""
    mean = points.mean(1)
    lift = 0.1 * free[:, -1:] * torch.eye(points.shape[-1], dtype=points.dtype)[-1]
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(4, points.shape[-1], generator=generator, dtype=points.dtype)
    for share in (0.02, 0.3, 0.7, -0.3):
        yield (share * mean + lift) * free
    for draw in draws:
        yield 0.3 * draw / draw.norm() * free


def _cosines(points: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """cos(t_i − z, t_j − z) (n, K, K), the unit vectors (n, K, D) and the lengths (n, K)."""
    v = points - z.unsqueeze(-2)
    length = v.norm(dim=-1).clamp_min(_TINY)
    u = v / length.unsqueeze(-1)
    return (u @ u.mT).clamp(-1, 1), u, length


def smoothed(points: Tensor, z: Tensor, alpha: Tensor, eps: float) -> tuple[Tensor, ...]:
    """f with √(x² + ε²) for |x| and ‖·‖: value (n,), gradient (n, D), Hessian (n, D, D).

    With u_i = (t_i − z)/p_i and c = u_iᵀu_j: ∇c = −(u_j − c u_i)/p_i − (u_i − c u_j)/p_j.
    """
    c, u, p = _cosines(points, z)
    weights, phi, radius = pair_weights(points), (c * c + eps**2).sqrt(), _radius(z, eps)
    value = (weights * phi).sum((-1, -2)) + alpha * radius
    slope, bend = weights * c / phi, weights * eps**2 / phi**3
    one = (u.unsqueeze(-3) - c.unsqueeze(-1) * u.unsqueeze(-2)) / p[..., None, None]
    towards = -(one + one.transpose(-3, -2))  # ∇c_ij, (n, K, K, D)
    gradient = torch.einsum("nij,nijd->nd", slope, towards) + (alpha / radius).unsqueeze(-1) * z
    # Σ slope_ij ∇²c_ij = Uᵀ M U + κ I: the second derivatives of a cosine are made of u_i and u_j.
    a = slope / p.unsqueeze(-1) ** 2
    b = slope / (p.unsqueeze(-1) * p.unsqueeze(-2))
    ac = (a * c).sum(-1)
    m = b * c - a - a.mT + torch.diag_embed(3 * ac - 2 * b.sum(-1))
    kappa = (b.sum(-1) - ac).sum(-1)
    hessian = torch.einsum("nij,nijd,nije->nde", bend, towards, towards) + 2 * (u.mT @ m @ u)
    unit = torch.eye(z.shape[-1], dtype=z.dtype)
    scale = (2 * kappa + alpha / radius)[:, None, None]
    outer = z.unsqueeze(-1) * z.unsqueeze(-2)
    hessian = hessian + scale * unit - (alpha / radius**3)[:, None, None] * outer
    return value, gradient, hessian


def _radius(z: Tensor, eps: float) -> Tensor:
    return (z.square().sum(-1) + eps**2).sqrt()


def _descend(
    points: Tensor, z: Tensor, alpha: Tensor, free: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Newton steps inside a trust region until no problem moves; z (m, D) and steps (m,)."""
    z, trust = z.clone(), torch.full_like(alpha, 0.3)
    steps = torch.zeros(len(z), dtype=torch.long)
    going = torch.arange(len(z))
    value, gradient, hessian = smoothed(points, z, alpha, eps)
    unit = torch.eye(z.shape[-1], dtype=z.dtype)
    for _ in range(STEPS):
        inside = free[going].to(z.dtype)
        g = gradient * inside
        h = hessian * inside.unsqueeze(-1) * inside.unsqueeze(-2)
        h = h + torch.diag_embed(1 - inside) * unit
        curvature, axes = torch.linalg.eigh(h)
        along = (axes.mT @ g.unsqueeze(-1)).squeeze(-1)
        step = -along / curvature.abs().clamp_min(1e-12)
        long = step.norm(dim=-1, keepdim=True).clamp_min(_TINY)
        step = step * (trust[going].unsqueeze(-1) / long).clamp(max=1)
        expected = -(along * step + 0.5 * curvature * step**2).sum(-1)
        moved = z[going] + (axes @ step.unsqueeze(-1)).squeeze(-1)
        new = smoothed(points[going], moved, alpha[going], eps)
        gain = value - new[0]
        better = gain > 0
        good = better & (gain > 0.5 * expected)
        size = step.norm(dim=-1)
        trust[going] = torch.where(good, trust[going].maximum(2 * size), 0.3 * size).clamp(max=1)
        z[going[better]] = moved[better]
        steps[going] += 1
        pick = better[:, None]
        value = torch.where(better, new[0], value)
        gradient = torch.where(pick, new[1], gradient)
        hessian = torch.where(pick[..., None], new[2], hessian)
        settled = (expected < 1e-15) | (trust[going] < 1e-14)
        if settled.all():
            break
        going, value = going[~settled], value[~settled]
        gradient, hessian = gradient[~settled], hessian[~settled]
    return z, steps
