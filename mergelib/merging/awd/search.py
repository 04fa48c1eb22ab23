"""The search for the least minimum of AWD's objective, over many problems at once.

A problem is K points t_i in K + 1 coordinates (mergelib.merging.awd.span), and asks for the z that
minimises

    f(z) = mean_{i≠j} |cos(t_i − z, t_j − z)| + α ‖z‖₂ :

a place near zero from which the points are seen nearly at right angles to each other. f has many
local minima, so Newton's method (mergelib.merging.awd.newton) is started from many places. It
descends on a smoothed f; its ends are compared by f itself.

At a minimum some of the cosines are zero. Two minima with different cosines at zero may lie so
close together that a smoothed f has only one valley for both, and that may lead to the worse of
the two. So there are two stages. The first starts from places far apart, with much smoothing, and
finds the region of the best minimum. The second starts from places around the best end so far,
with hardly any smoothing, and finds the other minima there; it is repeated a few times.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mergelib.merging.awd.newton import (
    Problems,
    apart,
    cosines_from,
    descend,
    nearest,
    objective,
)
from mergelib.vectors import passes

STARTS = 24  # of the first stage
QUICK = 4  # the same of a quick search
HOPS = 3  # how often the second stage is done
AROUND = 16  # its starts, around the best end so far
KEPT = 6  # the most promising starts of a stage, from which a descent goes on to its end
_LOOK_STEPS = 30  # at most so many steps before the most promising starts are chosen
_END = (1e-9, 200)  # the last ε, and the largest number of steps, of those that go on
_FIRST_EPS = (0.3, 0.1, 0.03, 0.01)  # the first ε of the starts, in turn: each leads elsewhere
_HOP_EPS = (1e-3,)  # with 0.01 or more, all starts around an end come back to it
_SAME = 0.01  # of the distance to the nearest point: ends closer than this are one
_AT_ONCE = 512  # problems × starts, so that the temporaries fit a core's cache
_TINY = 1e-150


def minimise(
    points: Tensor, alpha: Tensor, free: Tensor, quick: bool = False
) -> tuple[Tensor, Tensor]:
    """The best z (n, D) found for each problem and the number of Newton steps it took (n,).

    points (n, K, D) float64 of about unit length; alpha (n,); free (n, D) bool: coordinates
    outside it stay zero. z = 0 is always among the candidates, and of candidates that are equally
    good to 10⁻¹² the shortest is taken. The same numbers come out on any number of cores.

    The search is from STARTS points and then, HOPS times, from AROUND points around the best; with
    `quick`, for many thousand problems, from QUICK points only, a twentieth of the work.
    """
    if not len(points):
        return points.new_zeros(points[:, 0].shape), torch.zeros(0, dtype=torch.long)

    problems = Problems.of(points, alpha, free)

    def work(parts: Sequence[slice]) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts:
            yield _minimise_some(problems.each(lambda x, part=part: x[part]), quick)

    # A quick search counts as one start a problem: only one goes on to its end, which takes most
    # of the steps.
    width = _AT_ONCE if quick else _AT_ONCE // STARTS
    parts = passes.columns(len(points), points.device, cpu_width=width)
    found = passes.run(work, parts, points.device, small=True)
    return tuple(torch.cat(column) for column in zip(*found, strict=True))


def _minimise_some(problems: Problems, quick: bool) -> tuple[Tensor, Tensor]:
    points, alpha = problems.points, problems.alpha
    zero = torch.zeros_like(points[:, :1])
    starts, kept = (_starts(points)[:, :QUICK], 1) if quick else (_starts(points), KEPT)
    found, steps = _look_and_follow(problems, starts, kept, _FIRST_EPS, zero[:, :0])
    best = _shortest_best(points, torch.cat([zero, found], 1), alpha)
    for hop in range(0 if quick else HOPS):
        known, starts = best.unsqueeze(1), _around(points, best, seed=hop)
        found, more = _look_and_follow(problems, starts, kept, _HOP_EPS, known)
        steps = steps + more
        best = _shortest_best(points, torch.cat([known, found], 1), alpha)
    return best, steps


def _look_and_follow(
    problems: Problems, starts: Tensor, kept: int, first_eps: Sequence[float], known: Tensor
) -> tuple[Tensor, Tensor]:
    """One stage: a few steps from each of the starts (n, S, D), then on to the end from the `kept`
    lowest of them. The ends (n, kept, D) and steps (n,).

    Start s begins with the ε that is number s of `first_eps`, counted round and round; in the few
    steps ε falls to the least of `first_eps`, after that to the last ε. A start that has come to
    a place that is `known` (n, any number, D), or to that of a lower one, goes no further.
    """
    count, floor = starts.shape[1], min(first_eps)
    eps = starts.new_tensor(first_eps).repeat(-(-count // len(first_eps)))[:count]
    everywhere = torch.ones_like(starts[..., 0], dtype=torch.bool)
    starts = starts * problems.free.unsqueeze(1)
    z, steps = _from_each(problems, starts, everywhere, eps, floor, _LOOK_STEPS)
    best = _values(problems.points, z, problems.alpha).argsort(1)[:, :kept].unsqueeze(-1)
    z = z.take_along_dim(best, 1)
    reach = nearest(problems.points, cosines_from(problems.points, z[:, 0])[2])
    places = torch.cat([known, z], 1)
    same = torch.cdist(z, places) < _SAME * reach[:, None, None]
    new = ~same.tril(known.shape[1] - 1).any(-1)
    z, more = _from_each(problems, z, new, eps.new_full((kept,), floor), *_END)
    return z, steps + more


def _from_each(
    problems: Problems, z: Tensor, where: Tensor, eps: Tensor, floor: float, limit: int
) -> tuple[Tensor, Tensor]:
    """Descend from those of the S starts z (n, S, D) that `where` (n, S) names; eps (S,) is the
    first ε of each. The ends (n, S, D), the other starts as they were, and steps (n,) in all."""
    n, count = where.shape
    rows = where.flatten().nonzero().squeeze(1)
    found, steps = z.flatten(0, 1).clone(), torch.zeros(n * count, dtype=torch.long)
    if len(rows):
        many = problems.each(lambda x: x[rows // count])
        found[rows], steps[rows] = descend(many, found[rows], eps[rows % count], floor, limit)
    return found.view_as(z), steps.view(n, count).sum(1)


def _values(points: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
    """Objectives (n, S) of S candidates for each problem; ∞ for one that lies on a point."""
    values = [objective(points, one, alpha) for one in z.unbind(1)]
    far = [apart(points, cosines_from(points, one)[2]) for one in z.unbind(1)]
    return torch.where(torch.stack(far, 1), torch.stack(values, 1), torch.inf)


def _shortest_best(points: Tensor, z: Tensor, alpha: Tensor) -> Tensor:
    """Of candidates z (n, S, D) the best; of those equally good to 10⁻¹², the shortest."""
    values = _values(points, z, alpha)
    good = values <= values.min(1, keepdim=True).values + 1e-12
    best = torch.where(good, z.norm(dim=-1), torch.inf).argmin(1)
    return z[torch.arange(len(z)), best]


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


def _around(points: Tensor, z: Tensor, seed: int) -> Tensor:
    """Starts (n, AROUND, D) around z (n, D), at shares of the distance to the nearest point."""
    generator = torch.Generator().manual_seed(1 + seed)
    draws = torch.randn(AROUND, z.shape[-1], generator=generator, dtype=z.dtype)
    draws = draws / draws.norm(dim=-1, keepdim=True)
    draws = draws * torch.linspace(0.2, 1, AROUND, dtype=z.dtype)[:, None]
    reach = nearest(points, cosines_from(points, z)[2])
    return z.unsqueeze(1) + reach[:, None, None] * draws
