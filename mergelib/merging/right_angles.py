"""The point from which K given points are seen at right angles, as nearly as its distance allows.

Minimise over z, for many groups of points at once,

    f(z) = mean_{i≠j} |cos(t_i − z, t_j − z)| + α ‖z‖₂ .

This is the problem of Adaptive Weight Disentanglement (mergelib.merging.awd) in the at most K + 1
coordinates that it really has. |·| and ‖·‖ have kinks, where the minima like to lie; they are
replaced by √(x² + ε²), and ε goes to zero while damped Newton steps follow the minimum, from
several starts, because f has many. What is returned is judged by the objective with its kinks.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mergelib import passes

STARTS = 24
KEPT = 6  # starts that go on after the first look
_LOOK = (1e-2, 30)  # the smallest ε and the most steps of the first look
_END = (1e-10, 200)
_FIRST_EPS = 0.3
_AT_ONCE = 512  # problems × starts, so that the temporaries fit a core's cache
_NEAREST = 1e-6  # of a point's length
_SETTLED = 0.002
_JUMP = 3
_TINY = 1e-150


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
    outside it stay zero. z = 0 is always among the candidates, and of candidates that are equally
    good to 10⁻¹² the shortest is taken. The same numbers come out on any number of cores.
    """
    if not len(points):
        return points.new_zeros(points[:, 0].shape), torch.zeros(0, dtype=torch.long)

    def work(parts: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts:
            yield _minimise_some(points[part], alpha[part], free[part])

    parts = passes.columns(len(points), points.device, cpu_width=max(1, _AT_ONCE // STARTS))
    found = passes.run(work, parts, points.device)
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


def _minimise_some(points: Tensor, alpha: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    z = _starts(points) * free.unsqueeze(1)  # (n, S, D)
    z, steps = _from_each(points, z, alpha, free, *_LOOK)
    best = _values(points, z, alpha).argsort(1)[:, :KEPT].unsqueeze(-1)
    z, more = _from_each(points, z.take_along_dim(best, 1), alpha, free, *_END)
    z = torch.cat([torch.zeros_like(z[:, :1]), z], 1)
    values = _values(points, z, alpha)
    good = values <= values.min(1, keepdim=True).values + 1e-12
    best = torch.where(good, z.norm(dim=-1), torch.inf).argmin(1)
    return z[torch.arange(len(z)), best], steps + more


def _from_each(
    points: Tensor, z: Tensor, alpha: Tensor, free: Tensor, eps: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Descend from each of S starts z (n, S, D); the same shape, and steps (n,) in all."""
    many = [x.repeat_interleave(z.shape[1], 0) for x in (points, alpha, free)]
    found, steps = _descend(many[0], z.flatten(0, 1), *many[1:], eps, limit)
    return found.view_as(z), steps.view(z.shape[:2]).sum(1)


def _values(points: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
    """Objectives (n, S) of S candidates for each problem; ∞ for one that lies on a point."""
    values = [objective(points, one, alpha) for one in z.unbind(1)]
    apart = [_apart(points, _cosines(points, one)[2]) for one in z.unbind(1)]
    return torch.where(torch.stack(apart, 1), torch.stack(values, 1), torch.inf)


def _apart(points: Tensor, distance: Tensor) -> Tensor:
    """Whether z, at `distance` (n, K), is far enough from each point for a direction, (n,).

    From the very place of two equal points no angle between them is seen, and f would be small.
    """
    return (distance >= _NEAREST * points.norm(dim=-1)).all(-1)


def _starts(points: Tensor) -> Tensor:
    """Starts (n, STARTS, D), some of each kind.

    On the way from 0 to the points' centroid and beyond, with and without a lift into the last
    coordinate; weighted means of the points (between near-parallel ones lies their common part);
    and sums of the points' directions as short as the short ones (beside a huge one).
    """
    n, tasks, size = points.shape
    length = points.norm(dim=-1)
    present = (length > 0).to(points.dtype)
    count = present.sum(1).clamp_min(1)[:, None]
    unit = points / length.clamp_min(_TINY).unsqueeze(-1)
    short = torch.where(length > 0, length, torch.inf).min(1).values
    short = torch.where(short.isfinite(), short, 0.0)[:, None, None]
    centroid = points.sum(1) / count
    spread = (points - centroid.unsqueeze(1)).norm(dim=-1).mul(present).sum(1)[:, None] / count
    lift = torch.zeros(size, dtype=points.dtype)
    lift[-1] = 1

    generator = torch.Generator().manual_seed(0)
    third = (STARTS - 8) // 2
    shares = torch.tensor([0.02, 0.2, 0.5, 0.8, 1.0, 1.0, -0.3, 0.5], dtype=points.dtype)
    lifts = torch.tensor([0.1, 0.1, 0.1, 0.1, 0.1, 0.7, 0.1, 0.7], dtype=points.dtype)
    line = shares[:, None] * centroid.unsqueeze(1) + lifts[:, None] * spread.unsqueeze(1) * lift
    weights = torch.rand(third, tasks, generator=generator, dtype=points.dtype) ** 3
    weights = weights * present.unsqueeze(1)
    weights = weights / weights.sum(-1, keepdim=True).clamp_min(_TINY)
    reach = torch.linspace(0.4, 1, third, dtype=points.dtype)[:, None]
    between = reach * (weights @ points) + 0.2 * spread.unsqueeze(1) * lift
    draws = torch.randn(third, tasks, generator=generator, dtype=points.dtype)
    draws = draws / draws.norm(dim=-1, keepdim=True)
    beside = short * (draws @ unit + 0.2 * lift) * (0.3 + reach)
    return torch.cat([line, between, beside], 1)


def _cosines(points: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """cos(t_i − z, t_j − z) (n, K, K), the unit vectors (n, K, D) and the lengths (n, K)."""
    v = points - z.unsqueeze(-2)
    length = v.norm(dim=-1).clamp_min(_TINY)
    u = v / length.unsqueeze(-1)
    return (u @ u.mT).clamp(-1, 1), u, length


class Smoothed(NamedTuple):
    """f with √(x² + ε²) for |x| and ‖·‖ at some z: value (n,), gradient (n, D), Hessian (n, D, D);
    the cosines (n, K, K), and of pairs i < j their gradients (n, M, D) and the weight (n, M) of
    the square of such a gradient in the Hessian."""

    value: Tensor
    gradient: Tensor
    hessian: Tensor
    cosines: Tensor
    towards: Tensor
    bend: Tensor


def smoothed(
    points: Tensor, z: Tensor, alpha: Tensor, eps: Tensor, dual: Tensor | None = None
) -> Smoothed:
    """f without its kinks; eps (n,).

    With u_i = (t_i − z)/p_i and c = u_iᵀu_j: ∇c = −(u_j − c u_i)/p_i − (u_i − c u_j)/p_j.
    In the Hessian, the second derivative ε²/φ³ = (1 − c²/φ²)/φ of φ = √(c² + ε²) becomes
    (1 − y c/φ)/φ if `dual` y (n, K, K) is given (Chan, Golub and Mulet 1999): with y = c/φ from a
    larger ε, Newton's step does not overshoot a kink that has become sharper.
    """
    c, u, p = _cosines(points, z)
    eps = eps[:, None, None]
    weights, phi = pair_weights(points), (c * c + eps**2).sqrt()
    radius = (z.square().sum(-1) + eps[:, 0, 0] ** 2).sqrt()
    value = (weights * phi).sum((-1, -2)) + alpha * radius
    slope = weights * c / phi
    bend = weights * eps**2 / phi**3 if dual is None else weights * (1 - dual * c / phi) / phi
    i, j = _pairs(c)
    bend = 2 * bend[:, i, j]
    cij, pi, pj = c[:, i, j, None], p[:, i, None], p[:, j, None]
    towards = (cij / pi - 1 / pj) * u[:, i] + (cij / pj - 1 / pi) * u[:, j]
    gradient = 2 * (slope[:, i, j].unsqueeze(-2) @ towards).squeeze(-2)
    gradient = gradient + (alpha / radius).unsqueeze(-1) * z
    # Σ slope_ij ∇²c_ij = Uᵀ M U + κ I: the second derivatives of a cosine are made of u_i and u_j.
    a = slope / p.unsqueeze(-1) ** 2
    b = slope / (p.unsqueeze(-1) * p.unsqueeze(-2))
    ac = (a * c).sum(-1)
    m = b * c - a - a.mT + torch.diag_embed(3 * ac - 2 * b.sum(-1))
    kappa = (b.sum(-1) - ac).sum(-1)
    hessian = towards.mT @ (bend.unsqueeze(-1) * towards) + 2 * (u.mT @ m @ u)
    outer = z.unsqueeze(-1) * z.unsqueeze(-2)
    hessian = hessian - (alpha / radius**3)[:, None, None] * outer
    hessian.diagonal(dim1=-2, dim2=-1).add_((2 * kappa + alpha / radius).unsqueeze(-1))
    return Smoothed(value, gradient, hessian, c, towards, bend)


def _pairs(cosines: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(torch.triu_indices(*cosines.shape[-2:], 1))


def _descend(
    points: Tensor, z: Tensor, alpha: Tensor, free: Tensor, floor: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Damped Newton steps while ε falls to `floor`; z (m, D) and the steps of each (m,)."""
    found, steps = z.clone(), torch.full((len(z),), limit)
    going = torch.arange(len(z))
    inside = free.to(z.dtype)
    eps = torch.full_like(alpha, _FIRST_EPS)
    c, _, p = _cosines(points, z)
    dual = c / (c * c + eps[:, None, None] ** 2).sqrt()
    here = smoothed(points, z, alpha, eps, dual)
    damping = here.gradient.norm(dim=-1) / (0.3 * _nearest(points, p))
    for step_number in range(limit):
        step, expected, convex = _newton(points, z, here, damping, inside)
        moved = z + step
        trial = smoothed(points, moved, alpha, eps, dual)
        gain = here.value - trial.value
        better = convex & (gain >= 0) & _apart(points, _cosines(points, moved)[2])
        held_back = damping * step.square().sum(-1) > expected
        size = here.hessian.diagonal(dim1=-2, dim2=-1).abs().sum(-1)
        small = better & ~held_back & (expected < _SETTLED * eps * here.value)
        small |= convex & (expected < 1e-15 * here.value) | (damping > 1e12 * size)
        damping = torch.where(gain > 0.7 * expected, damping / 6, damping)
        damping = torch.where(better & (gain > 0.2 * expected), damping, damping * 4)
        damping = torch.where(convex, damping, damping * _JUMP)

        z = torch.where(better.unsqueeze(-1), moved, z)
        c, new = here.cosines, torch.where(better[:, None, None], trial.cosines, here.cosines)
        phi = (c * c + eps[:, None, None] ** 2).sqrt()
        dual = (c / phi + (1 - dual * c / phi) / phi * (new - c)).clamp(-1, 1)
        done = small & (eps <= floor)
        eps = torch.where(small, (eps * 0.1).clamp_min(floor), eps)
        if done.any():
            found[going[done]], steps[going[done]] = z[done], step_number + 1
            kept = ~done
            if not kept.any():
                return found, steps
            going, points, z, alpha = going[kept], points[kept], z[kept], alpha[kept]
            inside, eps, damping, dual = inside[kept], eps[kept], damping[kept], dual[kept]
        here = smoothed(points, z, alpha, eps, dual)
    found[going] = z
    return found, steps


def _newton(
    points: Tensor, z: Tensor, here: Smoothed, damping: Tensor, inside: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A step (m, D), what it should gain (m,) and where H + μ is positive (m,); else the step is 0.

    (H + μ) s = −g, and then a second step that makes the cosines what the first one would have
    made them were they linear: the valleys of f, where cosines are zero, are curved.
    """
    damped = here.hessian * inside.unsqueeze(-1) * inside.unsqueeze(-2)
    damped.diagonal(dim1=-2, dim2=-1).add_(damping.unsqueeze(-1) + (1 - inside))
    factor, failed = torch.linalg.cholesky_ex(damped)
    convex = (failed == 0).unsqueeze(-1)
    factor = torch.where(convex.unsqueeze(-1), factor, torch.eye(z.shape[-1], dtype=z.dtype))
    g = (here.gradient * inside).unsqueeze(-1)
    step = -torch.cholesky_solve(g, factor)
    expected = 0.5 * ((damping[:, None, None] * step - g) * step).sum((-1, -2))
    straight = torch.where(convex, step.squeeze(-1), 0.0)
    i, j = _pairs(here.cosines)
    change = _cosines(points, z + straight)[0][:, i, j] - here.cosines[:, i, j]
    missed = change - (here.towards @ straight.unsqueeze(-1)).squeeze(-1)
    pull = (here.bend * missed).unsqueeze(-2) @ here.towards * inside.unsqueeze(-2)
    aside = -torch.cholesky_solve(pull.mT, factor).squeeze(-1)
    near = aside.norm(dim=-1, keepdim=True) < 0.5 * straight.norm(dim=-1, keepdim=True)
    return straight + torch.where(near & convex, aside, 0.0), expected, convex.squeeze(-1)


def _nearest(points: Tensor, distance: Tensor) -> Tensor:
    """The distance (n,) to the nearest point that is not zero; distance (n, K)."""
    present = (points != 0).any(-1)
    return torch.where(present, distance, 1e3).min(-1).values
