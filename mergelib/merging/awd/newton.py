"""Newton's method on AWD's objective: from one start down to one local minimum.

    f(z) = mean_{i≠j} |cos(t_i − z, t_j − z)| + α ‖z‖₂

has kinks where a cosine is zero, and its minima often lie on several kinks at once. So |·| and ‖·‖
are replaced by √(x² + ε²), and ε goes to zero while damped Newton steps follow the minimum. Many
problems are solved side by side; mergelib.merging.awd.search chooses the starts.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from mergelib.merging.awd.objective import pair_weights, value

_SETTLED = 0.002  # times ε and f: what a step should gain before ε gets smaller
_NEAREST = 1e-6  # of a point's length
_TINY = 1e-150


def objective(points: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
    """f(z) of each problem: points (n, K, D), z (n, D), alpha (n,); (n,) float64."""
    cosines, _, _ = cosines_from(points, z)
    return value(pair_weights(points), cosines.abs(), alpha, z.norm(dim=-1))


class Problems(NamedTuple):
    """m problems side by side: points (m, K, D), alpha (m,), free (m, D) as 0 and 1, and the
    weights of pairs (m, K, K)."""

    points: Tensor
    alpha: Tensor
    free: Tensor
    weights: Tensor

    @classmethod
    def of(cls, points: Tensor, alpha: Tensor, free: Tensor) -> "Problems":
        return cls(points, alpha, free.to(points.dtype), pair_weights(points))

    def each(self, change: Callable[[Tensor], Tensor]) -> "Problems":
        return Problems(*map(change, self))


class Smoothed(NamedTuple):
    """f with √(x² + ε²) for |x| and ‖·‖ at some z: value (n,), gradient (n, D), Hessian (n, D, D);
    the cosines (n, K, K) and the φ (n, K, K) in the place of their magnitudes; of pairs i < j the
    gradients (n, M, D) and the weight (n, M) of the square of such a gradient in the Hessian."""

    value: Tensor
    gradient: Tensor
    hessian: Tensor
    cosines: Tensor
    phi: Tensor
    towards: Tensor
    bend: Tensor


def smoothed(problems: Problems, z: Tensor, eps: Tensor, dual: Tensor | None = None) -> Smoothed:
    """f without its kinks; eps (n,).

    With u_i = (t_i − z)/p_i and c = u_iᵀu_j: ∇c = −(u_j − c u_i)/p_i − (u_i − c u_j)/p_j.
    In the Hessian, the second derivative ε²/φ³ = (1 − c²/φ²)/φ of φ = √(c² + ε²) becomes
    (1 − y c/φ)/φ if `dual` y (n, K, K) is given (Chan, Golub and Mulet 1999): with y = c/φ from a
    larger ε, Newton's step does not overshoot a kink that has become sharper.
    """
    points, alpha, _, weights = problems
    c, u, p = cosines_from(points, z)
    f, phi, radius = _value(problems, z, c, eps)
    slope = weights * c / phi
    bend = (
        weights * eps[:, None, None] ** 2 / phi**3
        if dual is None
        else weights * (1 - dual * c / phi) / phi
    )
    i, j = _pairs(c.shape[-1])
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
    return Smoothed(f, gradient, hessian, c, phi, towards, bend)


def descend(
    problems: Problems, z: Tensor, eps: Tensor, floor: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Damped Newton steps while ε falls to `floor`; z (m, D) and the steps of each (m,)."""
    found, steps = z.clone(), torch.full((len(z),), limit)
    going = torch.arange(len(z))
    c, _, distance = cosines_from(problems.points, z)
    dual = c / _value(problems, z, c, eps)[1]
    here = smoothed(problems, z, eps, dual)
    damping = here.gradient.norm(dim=-1) / (0.3 * nearest(problems.points, distance))
    for step_number in range(limit):
        step, expected, convex = _newton(problems, z, here, damping)
        moved = z + step
        new, _, distance = cosines_from(problems.points, moved)
        gain = here.value - _value(problems, moved, new, eps)[0]
        better = convex & (gain >= 0) & apart(problems.points, distance)
        held_back = damping * step.square().sum(-1) > expected
        size = here.hessian.diagonal(dim1=-2, dim2=-1).abs().sum(-1)
        small = better & ~held_back & (expected < _SETTLED * eps * here.value)
        small |= convex & (expected < 1e-15 * here.value) | (damping > 1e12 * size)
        damping = torch.where(gain > 0.7 * expected, damping / 6, damping)
        damping = torch.where(better & (gain > 0.2 * expected), damping, damping * 4)
        damping = torch.where(convex, damping, damping * 3)

        z = torch.where(better.unsqueeze(-1), moved, z)
        c, phi = here.cosines, here.phi
        change = torch.where(better[:, None, None], new - c, 0.0)
        dual = (c / phi + (1 - dual * c / phi) / phi * change).clamp(-1, 1)
        done = small & (eps <= floor)
        eps = torch.where(small, (eps * 0.1).clamp_min(floor), eps)
        if done.any():
            found[going[done]], steps[going[done]] = z[done], step_number + 1
            kept = (~done).nonzero().squeeze(1)
            if not len(kept):
                return found, steps
            problems = problems.each(lambda x, kept=kept: x[kept])
            going, z, eps, damping, dual = (x[kept] for x in (going, z, eps, damping, dual))
        here = smoothed(problems, z, eps, dual)
    found[going] = z
    return found, steps


def _newton(
    problems: Problems, z: Tensor, here: Smoothed, damping: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A step (m, D), what it should gain (m,) and where H + μ is positive (m,); else the step is 0.

    (H + μ) s = −g, and then a second step that makes the cosines what the first one would have
    made them were they linear: the valleys of f, where cosines are zero, are curved.
    """
    free = problems.free
    damped = here.hessian * free.unsqueeze(-1) * free.unsqueeze(-2)
    damped.diagonal(dim1=-2, dim2=-1).add_(damping.unsqueeze(-1) + (1 - free))
    factor, failed = torch.linalg.cholesky_ex(damped)
    convex = (failed == 0).unsqueeze(-1)
    factor = torch.where(convex.unsqueeze(-1), factor, torch.eye(z.shape[-1], dtype=z.dtype))
    g = (here.gradient * free).unsqueeze(-1)
    step = -torch.cholesky_solve(g, factor)
    expected = 0.5 * ((damping[:, None, None] * step - g) * step).sum((-1, -2))
    straight = torch.where(convex, step.squeeze(-1), 0.0)
    i, j = _pairs(here.cosines.shape[-1])
    change = (cosines_from(problems.points, z + straight)[0] - here.cosines)[:, i, j]
    missed = change - (here.towards @ straight.unsqueeze(-1)).squeeze(-1)
    pull = (here.bend * missed).unsqueeze(-2) @ here.towards * free.unsqueeze(-2)
    aside = -torch.cholesky_solve(pull.mT, factor).squeeze(-1)
    near = aside.norm(dim=-1, keepdim=True) < 0.5 * straight.norm(dim=-1, keepdim=True)
    return straight + torch.where(near & convex, aside, 0.0), expected, convex.squeeze(-1)


def apart(points: Tensor, distance: Tensor) -> Tensor:
    """Whether z, at `distance` (n, K), is far enough from each point for a direction, (n,).

    From the very place of two equal points no angle between them is seen, and f would be small.
    """
    return (distance >= _NEAREST * points.norm(dim=-1)).all(-1)


def nearest(points: Tensor, distance: Tensor) -> Tensor:
    """The distance (n,) to the nearest point that is not zero; distance (n, K)."""
    present = (points != 0).any(-1)
    return torch.where(present, distance, 1e3).min(-1).values


def cosines_from(points: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """cos(t_i − z, t_j − z) (n, K, K), the unit vectors (n, K, D) and the lengths (n, K)."""
    v = points - z.unsqueeze(-2)
    length = v.norm(dim=-1).clamp_min(_TINY)
    u = v / length.unsqueeze(-1)
    return (u @ u.mT).clamp(-1, 1), u, length


def _value(
    problems: Problems, z: Tensor, cosines: Tensor, eps: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """f without its kinks (m,), and what takes the place of |cos| (m, K, K) and ‖z‖ (m,)."""
    square = eps.square()
    phi = (cosines.square() + square[:, None, None]).sqrt()
    radius = (z.square().sum(-1) + square).sqrt()
    return value(problems.weights, phi, problems.alpha, radius), phi, radius


@cache
def _pairs(count: int) -> tuple[Tensor, Tensor]:
    """The i and the j of all pairs i < j of so many."""
    return tuple(torch.triu_indices(count, count, 1))
