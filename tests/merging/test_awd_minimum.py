"""AWD's exact solver against descents from many starts and against closed forms."""

import pytest
import torch
from leaning import draw, side_by_side, slow_objective, vectors

from mergelib import merging

ALPHAS = (0.003, 0.01, 0.2)


def instances(tasks, size, seeds=(0, 1)):
    """Named (K, P) task vectors of about unit length, of random and of awkward geometry."""
    for name, deltas in _instances(tasks, size, seeds):
        yield name, deltas / size**0.5


def _instances(tasks, size, seeds):
    alternating = torch.tensor([1.0, -1] * tasks, dtype=torch.float64)[:tasks, None]
    huge = torch.ones(tasks, 1, dtype=torch.float64)
    huge[0] = 1000
    for seed in seeds:
        own, shared = draw(tasks, size, seed=seed), draw(size, seed=50 + seed)
        yield f"random {seed}", own
        yield f"leaning {seed}", own + 0.7 * shared
        yield f"near-parallel {seed}", shared + 10 ** -(1.0 + seed) * own
        yield f"negative cosines {seed}", 0.7 * own + alternating * shared
        yield f"around zero {seed}", own - 0.9 * own.mean(0)
        yield f"one huge {seed}", huge * (own + 0.7 * shared)
        yield f"duplicated {seed}", torch.cat([own[:1], own[:-1]]) + 0.5 * shared


@pytest.mark.parametrize("tasks", [2, 5, 8])
def test_no_descent_ends_lower(tasks, size=24, starts=6, steps=3000):
    """3,000 steps of Adam on all P numbers, step size falling to zero, the best of six starts."""
    names, drawn = zip(*instances(tasks, size), strict=True)
    deltas = torch.stack(drawn).repeat(len(ALPHAS), 1, 1).unsqueeze(1)
    alpha = torch.tensor(ALPHAS, dtype=torch.float64).repeat_interleave(len(names))[:, None]
    unit = deltas.norm(dim=-1).median(-1).values.unsqueeze(-1)
    weights = draw(starts, tasks, seed=1).softmax(-1)
    towards = torch.linspace(0, 1, starts, dtype=torch.float64)[:, None]
    x = towards * (weights @ deltas.squeeze(1)) + 0.02 * unit * draw(
        len(deltas), starts, size, seed=2
    )
    x = (x / unit).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        slow_objective(deltas, x * unit, alpha).sum().backward()
        optimiser.step()
        schedule.step()
    ends = slow_objective(deltas, x.detach() * unit, alpha).min(1).values
    for a, of_alpha in zip(ALPHAS, ends.view(len(ALPHAS), -1), strict=True):
        # A tensor for each instance: one call solves them all.
        apart = merging.awd(side_by_side(drawn), a, granularity="tensor", within_span=False)
        for name, found, end in zip(names, apart.report.objective, of_alpha, strict=True):
            assert found <= end * (1 + 1e-6), (name, a, found, end)


@pytest.mark.parametrize(
    ("kind", "seed", "alpha", "least"),
    [
        ("duplicated", 2, 0.003, 0.17808941),
        ("one huge", 2, 0.0, 0.14250152),
        ("negative cosines", 7, 0.02, 0.29807364),
    ],
)
def test_the_least_minimum_beside_one_that_smoothing_prefers(kind, seed, alpha, least):
    """Of 2,000 descents from ε = 0.3 one or two end at `least`, found from many from ε = 0.001."""
    deltas = dict(instances(8, 24, seeds=(seed,)))[f"{kind} {seed}"]
    found = merging.awd(vectors(deltas), alpha, within_span=False).report
    assert found.objective.item() <= least * (1 + 1e-6)
    assert found.in_span.item() <= least * (1 + 1e-6)


@pytest.mark.parametrize(("tasks", "cosine"), [(2, 0.5), (4, 0.1), (8, 0.05)])
def test_equal_norms_and_cosines_have_the_closed_form(tasks, cosine, radius=3.0):
    """δ = s · mean τ with s = 1 − √(1 − c/m), m = (1 + (K − 1) c)/K: all angles are right."""
    gram = torch.full((tasks, tasks), cosine, dtype=torch.float64).fill_diagonal_(1)
    axes = torch.linalg.qr(draw(40, tasks)).Q
    tv = vectors(radius * torch.linalg.cholesky(gram) @ axes.T)
    m = (1 + (tasks - 1) * cosine) / tasks
    share = 1 - (1 - cosine / m) ** 0.5
    apart = merging.awd(tv, alpha=1e-4)
    assert apart.cosines().fill_diagonal_(0).abs().max() < 1e-6
    shortest = 1e-4 * share * (tv.sum() / tasks).norm().item()
    assert apart.report.objective.item() == pytest.approx(shortest, rel=1e-5)
    if tasks > 2:  # with two, other points see them at right angles too
        torch.testing.assert_close(apart.redundant, share * tv.sum() / tasks, atol=1e-5, rtol=0)
        coefficients = torch.full((1, tasks), share / tasks, dtype=torch.float64)
        torch.testing.assert_close(apart.report.coefficients, coefficients, atol=1e-5, rtol=0)


def test_outside_the_span_only_if_it_helps_and_only_if_allowed():
    """Three vectors at 120°: from height r/√2 over their plane they are at right angles."""
    plane = torch.linalg.qr(draw(30, 2)).Q.T
    angles = torch.tensor([0, 2.0943951, 4.1887902], dtype=torch.float64)
    tv = vectors(torch.stack([angles.cos(), angles.sin()], 1) @ plane)
    inside, outside = (merging.awd(tv, 0.01, within_span=w) for w in (True, False))
    height = 0.5**0.5
    assert outside.report.objective.item() == pytest.approx(0.01 * height, rel=1e-6)
    assert outside.report.outside.item() == pytest.approx(height, rel=1e-6)
    assert (tv.deltas @ outside.redundant).abs().max() < 1e-6
    assert inside.report.objective.item() > 10 * outside.report.objective.item()
    assert inside.report.unrestricted.item() == outside.report.objective.item()
    other = merging.awd(tv, 0.01, within_span=False, seed=1)
    assert not torch.allclose(other.redundant, outside.redundant, atol=1e-2)
    assert torch.equal(merging.awd(tv, 0.01, within_span=False).redundant, outside.redundant)
