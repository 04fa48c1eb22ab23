"""Masks: their distribution, their means, and gradients against autograd and differences."""

import pytest
import torch
from torch.autograd import gradcheck
from toys import random_state

from mergelib import Layout
from mergelib.adaptation import (
    binary_mask,
    combination,
    deployed_mask,
    expected_mask,
    mask,
    relaxed_mask,
)

LAYOUT = Layout.from_state(random_state(0))


def one(size: int) -> Layout:
    return Layout.from_state({"w": torch.zeros(size)})


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits(size: int, dtype=torch.float64) -> torch.Tensor:
    return 2 * torch.randn(size, generator=generator(9), dtype=dtype)


def by_tensor(vector: torch.Tensor, layout: Layout = LAYOUT) -> list[torch.Tensor]:
    sizes = [b - a for a, b in zip(layout.offsets, layout.offsets[1:], strict=False)]
    return [part for part in vector.split(sizes) if len(part)]


def slow(x, temperature: float, seed: int):
    """The definition, tensor by tensor, with the draws that the fast version makes."""
    number = torch.randint(1 << 62, (), generator=generator(seed)).item()
    parts, start = [], 0
    for i, part in enumerate(by_tensor(x)):
        u = mask._uniform(torch.empty(len(part), dtype=x.dtype), number, i)
        m = torch.sigmoid((part + torch.log(u) - torch.log(1 - u)) / temperature)
        parts.append(m / m.mean())
        start += len(part)
    return torch.cat(parts)


@pytest.mark.parametrize("temperature", [0.2, 0.5, 2.0])
def test_values_and_gradients_equal_the_slow_version(temperature):
    upstream = torch.randn(LAYOUT.size, generator=generator(1), dtype=torch.float64)
    found = []
    for function in (
        lambda x: relaxed_mask(x, LAYOUT, temperature, generator(4)),
        lambda x: slow(x, temperature, 4),
    ):
        x = logits(LAYOUT.size).requires_grad_()
        r = function(x)
        r.backward(upstream)
        found.append((r.detach(), x.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_room_that_is_given_is_used_and_gradients_are_the_same():
    """Mask and gradient are written where the caller says, and nowhere else."""
    upstream = torch.randn(LAYOUT.size, generator=generator(1), dtype=torch.float64)
    room, x = torch.empty_like(upstream), logits(LAYOUT.size).requires_grad_()
    expected = relaxed_mask(x, LAYOUT, 0.5, generator(4))
    (gradient,) = torch.autograd.grad(expected, x, upstream.clone())
    for consume in (False, True):
        given = upstream.clone()
        r = relaxed_mask(x, LAYOUT, 0.5, generator(4), room, consume)
        assert r.data_ptr() == room.data_ptr() and torch.equal(r, expected)
        (found,) = torch.autograd.grad(r, x, given)
        assert torch.equal(found, gradient)
        assert torch.equal(given, gradient if consume else upstream)


def test_gradients_equal_finite_differences(monkeypatch):
    x = logits(LAYOUT.size).requires_grad_()
    assert gradcheck(lambda x: relaxed_mask(x, LAYOUT, 0.5, generator(2)), (x,))
    monkeypatch.setattr(combination, "WIDTH", 5)  # tensors in several pieces
    assert gradcheck(lambda x: relaxed_mask(x, LAYOUT, 0.5, generator(2)), (x,))


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0, 3.0])
def test_the_distribution_is_the_relaxed_bernoullis(temperature):
    """m < t where u < σ(T logit t − x). At x = 0 the mean of m is ½, so that m is r / 2."""
    size = 200_000
    r = relaxed_mask(torch.zeros(size), one(size), temperature, generator())
    for t in (0.05, 0.25, 0.5, 0.9):
        expected = torch.sigmoid(temperature * torch.logit(torch.tensor(t))).item()
        assert (r / 2 < t).float().mean().item() == pytest.approx(expected, abs=0.006)


def test_the_mean_of_every_tensor_is_one_and_a_single_weight_is_not_masked():
    r = relaxed_mask(logits(LAYOUT.size, torch.float32), LAYOUT, 0.5, generator())
    for part in by_tensor(r):
        assert part.mean().item() == pytest.approx(1, abs=1e-6)
    assert [part.item() for part in by_tensor(r) if len(part) == 1] == [1.0]


def test_the_rescaled_mask_has_expectation_one():
    """Where logits are equal, no weight of a tensor is preferred."""
    draws = 3000
    total = torch.zeros(LAYOUT.size, dtype=torch.float64)
    g = generator()
    for _ in range(draws):
        total += relaxed_mask(torch.full((LAYOUT.size,), -0.5), LAYOUT, 0.5, g)
    # The deviation of a mask value from its mean is below 1, of a mean below 1/√draws.
    assert (total / draws - 1).abs().max() < 5 / draws**0.5


def test_samples_scatter_around_the_expected_mask():
    size = 2000
    x = torch.linspace(-6, 6, size)
    draws, g = 400, generator()
    mean = sum(relaxed_mask(x, one(size), 0.5, g) for _ in range(draws)) / draws
    expected = expected_mask(x, one(size), 0.5)
    assert expected.mean().item() == pytest.approx(1, abs=1e-6)
    assert (mean - expected).abs().max() < 5 * 0.8 / draws**0.5
    assert (mean - expected).mean().abs() < 1e-5


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 5.0])
def test_the_expectation_equals_that_over_a_grid_of_draws(temperature):
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    x = torch.tensor([-7.3, -1.001, 0.0, 0.5, 3.14159, 9.0], dtype=torch.float64)
    m = torch.stack([torch.sigmoid((v + torch.logit(u)) / temperature).mean() for v in x])
    expected = expected_mask(x, one(6), temperature)
    torch.testing.assert_close(expected, m / m.mean(), rtol=0, atol=1e-5)


def test_the_expectation_tends_to_the_probability():
    x = torch.linspace(-4, 4, 9)
    p = torch.sigmoid(x)
    torch.testing.assert_close(expected_mask(x, one(9), 1e-4), p / p.mean(), rtol=0, atol=1e-5)


def test_infinite_logits_mask_nothing_and_very_low_ones_give_no_nan():
    for value, expected in ((float("inf"), 1.0), (-1e5, 0.0)):
        x = torch.full((LAYOUT.size,), value, requires_grad=True)
        r = relaxed_mask(x, LAYOUT, 0.5, generator())
        r.sum().backward()
        assert (r == expected).all() and (x.grad == 0).all()
    for kind in mask.KINDS:
        x = torch.full((LAYOUT.size,), float("inf"))
        torch.testing.assert_close(deployed_mask(x, LAYOUT, 0.5, kind), torch.ones(LAYOUT.size))


def test_the_binary_mask_keeps_what_is_likelier_kept():
    state = {"a": torch.zeros(4), "b": torch.zeros(2), "c": torch.zeros(())}
    x = torch.tensor([1.0, -1, 0, 2, -1, -2, -3])
    found = binary_mask(x, Layout.from_state(state))
    torch.testing.assert_close(found, torch.tensor([4 / 3, 0, 4 / 3, 4 / 3, 0, 0, 0]))


def test_one_seed_gives_one_mask_on_any_number_of_cores():
    size = 5 * combination.WIDTH + 3
    x, threads, found = torch.zeros(size), torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(deployed_mask(x, one(size), 0.5, "sample", seed=1))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
    assert not torch.equal(found[0], deployed_mask(x, one(size), 0.5, "sample", seed=2))
    g = generator(1)
    first, second = (relaxed_mask(x, one(size), 0.5, g) for _ in range(2))
    assert torch.equal(first, found[0]) and not torch.equal(first, second)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: relaxed_mask(x[:3], LAYOUT, 0.5, generator()), r"shape \(193,\), not \(3,\)"),
        (lambda x: relaxed_mask(x, LAYOUT, 0.0, generator()), "temperature must be above 0"),
        (lambda x: expected_mask(x, LAYOUT, -1.0), "temperature must be above 0"),
        (
            lambda x: deployed_mask(x, LAYOUT, 0.5, "mean"),
            "kind must be one of sample, expected, binary, not 'mean'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(LAYOUT.size))
