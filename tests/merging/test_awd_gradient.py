"""AWD by descent against autograd and torch's Adam, and input that AWD refuses or must bear."""

import math

import pytest
import torch
from leaning import draw, leaning, model, slow_objective, vectors
from toys import one_tensor

from mergelib import merging


def autograd_descent(tv, alpha, optimiser, steps):
    """Full space, from 0, by autograd (‖δ‖ has the gradient 0 at 0); δ and the objectives."""
    x = torch.zeros_like(tv.base).requires_grad_()
    optimiser = optimiser([x])
    values = []
    for _ in range(steps):
        optimiser.zero_grad()
        value = slow_objective(tv.deltas, x, alpha)
        value.backward()
        values.append(value.item())
        optimiser.step()
    return x.detach(), [*values, slow_objective(tv.deltas, x.detach(), alpha).item()]


@pytest.mark.parametrize(
    ("name", "lr", "optimiser"),
    [
        ("gd", 0.05, lambda x: torch.optim.SGD(x, lr=0.05)),
        ("adam", 1e-3, lambda x: torch.optim.Adam(x, lr=1e-3)),
    ],
)
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_a_descent_takes_the_steps_of_autograd(name, lr, optimiser, alpha):
    tv = leaning()
    apart = merging.awd(tv, alpha, solver="descent", optimiser=name, lr=lr, steps=40)
    redundant, values = autograd_descent(tv, alpha, optimiser, 40)
    torch.testing.assert_close(apart.redundant, redundant, atol=1e-9, rtol=1e-7)
    values = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(apart.report.trajectory[:, 0], values)
    assert apart.report.objective.item() == apart.report.trajectory[-1].item()
    assert apart.report.iterations.tolist() == [40] and apart.report.seconds_per_step > 0
    torch.testing.assert_close(apart.deltas + apart.redundant, tv.deltas)


def test_gradient_descent_on_k_numbers_is_gradient_descent_on_all():
    """δ = Σ c_k τ_k moves by −lr ∇f, which is −lr G⁻¹ ∂f/∂c in coefficients."""
    tv, alpha, lr = leaning(), 0.1, 0.05
    gram = tv.gram()
    c = torch.full((len(tv),), 1e-12, dtype=torch.float64)
    for _ in range(300):
        c.requires_grad_()
        inner = gram - (gram @ c)[:, None] - (gram @ c)[None] + c @ gram @ c
        norms = inner.diagonal().sqrt()
        cosines = (inner / norms / norms[:, None]).abs()
        pairs = (cosines.sum() - len(tv)) / (len(tv) * (len(tv) - 1))
        (slope,) = torch.autograd.grad(pairs + alpha * (c @ gram @ c).sqrt(), c)
        c = (c - lr * torch.linalg.solve(gram, slope)).detach()
    # Its first step has the gradient of ‖δ‖ in some direction; in full space it is left out.
    apart = merging.awd(tv, alpha, solver="descent", lr=lr)
    first = alpha * lr * (c @ tv.deltas).norm() / (c @ tv.deltas).norm()
    torch.testing.assert_close(apart.redundant, c @ tv.deltas, atol=2 * first.item(), rtol=0)
    assert apart.report.outside.item() < 1e-7
    torch.testing.assert_close(apart.report.coefficients[0] @ tv.deltas, apart.redundant)


@pytest.mark.parametrize("granularity", ["block", "tensor", "row"])
def test_groups_descend_by_themselves(granularity):
    tv = model()
    apart = merging.awd(tv, 0.1, granularity, "descent", lr=0.01, steps=20)
    achieved = merging.awd_objective(tv, apart.redundant, 0.1, granularity)
    torch.testing.assert_close(apart.report.objective, achieved)
    for segment in tv.layout.segments(granularity if granularity != "row" else "block"):
        if granularity != "row" and segment.slices and segment.slices[0] != slice(0, 0):
            part = torch.cat([tv.deltas[:, s] for s in segment.slices], 1)
            if part.numel():
                alone = merging.awd(vectors(part), 0.1, "model", "descent", lr=0.01, steps=20)
                mine = torch.cat([apart.redundant[s] for s in segment.slices])
                torch.testing.assert_close(mine, alone.redundant)


def test_the_exact_solver_is_never_worse():
    for seed in range(3):
        tv = leaning(seed=seed)
        exact = merging.awd(tv, 0.1).report.objective
        assert (exact <= merging.awd(tv, 0.1, solver="descent").report.trajectory.min()).all()


def test_single_precision_descends_the_same_way():
    tv = leaning(size=400)
    double, single = (
        merging.awd(t, 0.1, solver="descent", lr=0.05) for t in (tv, tv.to(dtype=torch.float32))
    )
    assert single.redundant.dtype == torch.float32
    torch.testing.assert_close(single.redundant.double(), double.redundant, atol=1e-6, rtol=0)


def test_a_zero_task_vector_takes_part_in_no_pair():
    tv = leaning(tasks=3)
    beside = vectors(torch.cat([tv.deltas, torch.zeros_like(tv.deltas[:1])]))
    alone, four = merging.awd(tv, 0.05), merging.awd(beside, 0.05)
    assert four.report.objective.item() == pytest.approx(alone.report.objective.item(), rel=1e-9)
    torch.testing.assert_close(four.redundant, alone.redundant, atol=1e-6, rtol=0)
    assert four.report.coefficients[0, 3] == 0
    assert torch.equal(four.deltas[3], -four.redundant)
    achieved = merging.awd_objective(beside, four.redundant, 0.05)
    assert achieved == pytest.approx(four.report.objective.item(), rel=1e-7)


@pytest.mark.parametrize("solver", ["exact", "descent"])
def test_fewer_than_two_directions_share_nothing(solver):
    deltas = torch.zeros(3, 20, dtype=torch.float64)
    for present in (0, 1):
        deltas[:present] = draw(20)
        apart = merging.awd(vectors(deltas), 0.1, solver=solver, steps=5)
        assert not apart.redundant.any() and apart.report.objective.item() == 0


def test_identical_experts_stay_parallel():
    tv = leaning(tasks=3)
    twins = vectors(torch.cat([tv.deltas, tv.deltas[:1]]))
    apart = merging.awd(twins, 0.01)
    assert torch.equal(apart.deltas[0], apart.deltas[3])
    assert apart.cosines()[0, 3].item() == pytest.approx(1)
    assert apart.report.objective.item() <= apart.report.before.item()
    both = merging.awd(vectors(tv.deltas[[0, 0]]), 0.1)
    assert not both.redundant.any() and both.report.objective.item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"alpha": -0.1}, "alpha must be at least 0 and finite, not -0.1"),
        ({"alpha": math.nan}, "alpha must be at least 0 and finite, not nan"),
        ({"alpha": math.inf}, "alpha must be at least 0 and finite, not inf"),
        ({"granularity": "layer"}, "granularity must be one of model, .*, row, not 'layer'"),
        ({"solver": "newton"}, 'solver must be "exact" or "descent", not \'newton\''),
        ({"solver": "descent", "optimiser": "sgd"}, "optimiser must be .* not 'sgd'"),
        ({"solver": "descent", "lr": 0.0}, "lr must be positive and finite, not 0.0"),
        ({"solver": "descent", "steps": -1}, "steps must not be negative, not -1"),
        ({"solver": "descent", "within_span": False}, "within_span=False needs the exact"),
    ],
)
def test_bad_numbers_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        merging.awd(leaning(), **bad)


def test_one_task_is_refused():
    with pytest.raises(ValueError, match="AWD needs at least two task vectors, not only 'a'"):
        merging.awd(leaning()["a"])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_named(bad):
    deltas = torch.ones(2, 3)
    deltas[1, 2] = bad
    with pytest.raises(ValueError, match="task vector 'b' holds NaN or infinite .* tensor 'w'"):
        merging.awd(one_tensor(deltas))


def test_a_redundant_vector_of_another_shape_is_refused():
    tv = leaning()
    with pytest.raises(ValueError, match=r"δ must be of shape \(60,\), not \(59,\)"):
        merging.awd_objective(tv, tv.base[1:], 0.1)


def test_no_steps_and_no_weight_of_length():
    tv = leaning()
    still = merging.awd(tv, solver="descent", steps=0)
    assert not still.redundant.any() and still.report.trajectory.shape == (1, 1)
    with pytest.raises(ValueError, match="only a descent of one step or more"):
        _ = still.report.seconds_per_step
    # Three vectors can be seen at right angles from a point of their span: three angles, three c.
    free = merging.awd(leaning(tasks=3), alpha=0.0)
    assert free.report.objective.item() < 1e-6 and free.redundant.isfinite().all()
