"""The solver behind AWD: derivatives against autograd, minima against a closed form and Adam."""

import pytest
import torch

from mergelib.merging.awd import search
from mergelib.merging.awd.newton import Problems, objective, smoothed


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def of_cosine(count, cosine):
    """Unit vectors (1, count, count + 1) with one cosine, the last coordinate free for δ only."""
    gram = torch.full((count, count), float(cosine), dtype=torch.float64).fill_diagonal_(1)
    points = torch.linalg.cholesky(gram)
    return torch.cat([points, torch.zeros(count, 1, dtype=torch.float64)], 1).unsqueeze(0)


def minimise(points, alpha, outside=False):
    free = torch.ones(points.shape[0], points.shape[-1], dtype=torch.bool)
    free[:, -1] = outside
    alphas = torch.full((len(points),), alpha, dtype=torch.float64)
    z, _ = search.minimise(points, alphas, free)
    return z, objective(points, z, alphas)


@pytest.mark.parametrize("eps", [0.1, 1e-3])
def test_derivatives_are_those_of_autograd(eps):
    points, z, alpha = draw(3, 5, 4), 0.3 * draw(3, 4, seed=1), draw(3, seed=2).abs()
    problems = Problems.of(points, alpha, torch.ones_like(z))
    eps = torch.full_like(alpha, eps)
    value, gradient, hessian = smoothed(problems, z, eps)[:3]
    for i in range(3):
        one = slice(i, i + 1)
        problem = problems.each(lambda x, one=one: x[one])

        def alone(x, problem=problem, one=one):
            return smoothed(problem, x[None], eps[one]).value[0]

        first = torch.autograd.functional.jacobian(alone, z[i])
        second = torch.autograd.functional.hessian(alone, z[i])
        torch.testing.assert_close(gradient[i], first, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(hessian[i], second, rtol=1e-8, atol=1e-8 / eps[0].item())
        assert value[i] == alone(z[i])


@pytest.mark.parametrize(("count", "cosine"), [(2, 0.5), (4, 0.1), (8, 0.05)])
def test_equal_cosines_have_the_closed_form(count, cosine):
    """δ = s · mean with s = 1 − √(1 − c/m), m = (1 + (K − 1) c)/K, makes all angles right."""
    points = of_cosine(count, cosine)
    m = (1 + (count - 1) * cosine) / count
    share = 1 - (1 - cosine / m) ** 0.5
    z, value = minimise(points, 1e-3)
    closed = 1e-3 * share * points.mean(1).norm()
    assert value.item() == pytest.approx(closed.item(), rel=1e-6)
    if count > 2:
        torch.testing.assert_close(z, share * points.mean(1), rtol=0, atol=1e-6)


def test_orthogonal_points_are_left_alone():
    z, value = minimise(of_cosine(5, 0.0), 0.1)
    assert value.item() < 1e-12 and z.abs().max() < 1e-9


def test_three_points_around_zero_gain_by_leaving_their_plane_only_if_allowed():
    """Seen from height w over the middle of the triangle, the inner products are w² − 1/2."""
    height = 3**0.5 / 2
    points = torch.tensor([[[1, 0, 0], [-0.5, height, 0], [-0.5, -height, 0]]], dtype=torch.float64)
    inside, outside = minimise(points, 0.01), minimise(points, 0.01, outside=True)
    assert inside[0][0, -1] == 0
    assert outside[1].item() == pytest.approx(0.01 * 0.5**0.5, rel=1e-6)
    assert abs(outside[0][0, -1]) == pytest.approx(0.5**0.5, rel=1e-6)
    assert inside[1].item() > 0.1


@pytest.mark.parametrize("seed", range(3))
def test_no_descent_from_random_starts_ends_lower(seed):
    points, alpha = draw(1, 5, 6, seed=seed) + 0.4, torch.tensor([0.1], dtype=torch.float64)
    points = points / points.norm(dim=-1).mean()
    _, found = minimise(points, alpha.item(), outside=True)
    starts = 0.4 * draw(20, 6, seed=100 + seed)
    x = starts.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 600)
    for _ in range(600):
        optimiser.zero_grad()
        values = objective(points.expand(20, -1, -1), x, alpha.expand(20))
        values.sum().backward()
        optimiser.step()
        schedule.step()
    assert found.item() <= values.min().item() * (1 + 1e-6)


def test_an_absent_task_does_not_count():
    points = of_cosine(3, 0.2)
    beside = torch.cat([points, torch.zeros_like(points[:, :1])], 1)
    a = torch.tensor([0.05], dtype=torch.float64)
    z = 0.1 * draw(1, points.shape[-1])
    assert objective(beside, z, a) == objective(points, z, a)


@pytest.mark.parametrize("outside", [True, False])
def test_the_quick_search_finds_what_the_long_one_finds_where_there_is_little_to_find(outside):
    points = draw(20, 4, 30) + 0.4 * draw(20, 1, 30, seed=1)
    points = torch.linalg.cholesky(points @ points.mT / 30)
    points = torch.nn.functional.pad(points, (0, 1))
    free = torch.ones(20, 5, dtype=torch.bool)
    free[:, -1] = outside
    alpha = torch.full((20,), 0.05, dtype=torch.float64)
    found = [search.minimise(points, alpha, free, quick)[0] for quick in (False, True)]
    long, quick = (objective(points, z, alpha) for z in found)
    torch.testing.assert_close(quick, long, rtol=1e-6, atol=0)


def test_no_problem_is_no_error():
    z, steps = search.minimise(torch.empty(0, 3, 4), torch.empty(0), torch.empty(0, 4))
    assert z.shape == (0, 4) and steps.shape == (0,)
