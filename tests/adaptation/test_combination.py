"""Weights from coefficients and a mask: values and gradients against slow obvious versions."""

import pytest
import torch
from torch.autograd import gradcheck
from toys import one_tensor, random_state

from mergelib import TaskVectors
from mergelib.adaptation import Combination, combination

GROUPS = {
    "task": ["model"],
    "block": [
        "embeddings",
        "visual.transformer.resblocks.0",
        "visual.transformer.resblocks.2",
        "visual.transformer.resblocks.10",
        "head",
    ],
    "tensor": None,
}
each_granularity = pytest.mark.parametrize("by", GROUPS)


@pytest.fixture
def tv():
    base = random_state(0)
    experts = {f"t{k}": random_state(k + 1, near=base) for k in range(3)}
    return TaskVectors.from_states(base, experts).to(dtype=torch.float64)


def randn(*shape, seed=0, requires_grad=True):
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(shape, generator=generator, dtype=torch.float64)
    return draws.requires_grad_(requires_grad)


def slow(tv, by, coefficients, mask):
    """Tensor by tensor and task by task, by plain autograd."""
    names = {"task": ["model"], "block": GROUPS["block"], "tensor": list(tv.layout.names)}[by]
    parts = []
    for i, name in enumerate(tv.layout.names):
        place = slice(tv.layout.offsets[i], tv.layout.offsets[i + 1])
        group = {
            "task": "model",
            "tensor": name,
            "block": next((g for g in names if name.startswith(f"{g}.")), None)
            or ("embeddings" if "conv1" in name or "embedding" in name else "head"),
        }[by]
        column = names.index(group)
        total = sum(coefficients[k, column] * tv.deltas[k, place] for k in range(len(tv)))
        parts.append(tv.base[place] + (total if mask is None else mask[place] * total))
    return torch.cat(parts)


@each_granularity
def test_groups_are_the_layouts(tv, by):
    expected = GROUPS[by] or list(tv.layout.names)
    assert list(Combination(tv, by).groups) == expected


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("width", [7, 1 << 16])
@each_granularity
def test_values_and_gradients_equal_the_slow_version(tv, by, masked, width, monkeypatch):
    monkeypatch.setattr(combination, "WIDTH", width)
    combine = Combination(tv, by)
    results = []
    for function in (combine, lambda c, m: slow(tv, by, c, m)):
        c = randn(len(tv), len(combine.groups))
        m = randn(tv.layout.size, seed=1) if masked else None
        weights = function(c, m)
        weights.backward(randn(tv.layout.size, seed=2, requires_grad=False))
        results.append((weights.detach(), c.grad, m.grad if masked else torch.zeros(1)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@each_granularity
def test_gradients_equal_finite_differences(tv, by):
    combine = Combination(tv, by)
    c, m = randn(len(tv), len(combine.groups)), randn(tv.layout.size, seed=1)
    assert gradcheck(lambda x: combine(x), (c,))
    assert gradcheck(combine, (c, m))


def test_only_the_gradients_that_are_asked_for_are_formed(tv):
    combine = Combination(tv)
    c, m = randn(3, len(combine.groups), requires_grad=False), randn(tv.layout.size)
    combine(c, m).sum().backward()
    torch.testing.assert_close(m.grad, slow(tv, "tensor", c, m.detach() * 0 + 1) - tv.base)
    c.requires_grad_()
    combine(c, m.detach()).sum().backward()
    assert c.grad.shape == c.shape
    (found,) = torch.autograd.grad(combine(c).sum(), c)
    assert found.is_contiguous()  # fused optimisers take the memory of both as it lies


def test_a_gradient_is_consumed_only_where_that_is_allowed(tv):
    combine = Combination(tv)
    upstream = randn(tv.layout.size, seed=3, requires_grad=False)
    c, m = randn(3, len(combine.groups)), randn(tv.layout.size)
    both = torch.autograd.grad(combine(c, m), (c, m), upstream)
    for consume in (False, True):
        given = upstream.clone()
        found = torch.autograd.grad(combine(c, m, None, consume), (c, m), given)
        assert all(torch.equal(a, b) for a, b in zip(found, both, strict=True))
        assert torch.equal(given, upstream)
        (alone,) = torch.autograd.grad(combine(c.detach(), m, None, consume), m, given)
        assert torch.equal(alone, both[1])
        assert torch.equal(given, both[1] if consume else upstream)


def test_long_sums_do_not_drift_in_float32():
    """One float32 sum of 2²⁰ equal numbers would be off by a tenth of a per cent and more."""
    size = 1 << 20
    combine = Combination(one_tensor(torch.full((1, size), 1e-3)))
    c = torch.ones(1, 1, requires_grad=True)
    combine(c).backward(torch.ones(size))
    assert c.grad.item() == pytest.approx(size * 1e-3, rel=1e-4)


def test_weights_are_written_to_the_room_given_again_and_again(tv):
    combine, room = Combination(tv), torch.empty_like(tv.base)
    for seed in range(3):
        c = randn(3, len(combine.groups), seed=seed)
        weights = combine(c, None, room)
        assert weights.data_ptr() == room.data_ptr() and not room.requires_grad
        weights.backward(torch.ones_like(room))
        expected = torch.stack([d.sum() for d in tv.deltas[0].split(_sizes(tv))])
        torch.testing.assert_close(c.grad[0], expected)


def test_zero_coefficients_give_the_base_and_nothing_is_changed(tv):
    before = tv.base.clone(), tv.deltas.clone()
    combine = Combination(tv, "block")
    c = torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)
    weights = combine(c)
    weights.sum().backward()
    assert torch.equal(weights, tv.base)
    assert torch.equal(tv.base, before[0]) and torch.equal(tv.deltas, before[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda tv: Combination(tv, "layer"), "by must be one of task, tensor, block, not 'layer'"),
        (
            lambda tv: Combination(tv, "task")(torch.zeros(2, 1)),
            r"3 tasks and 1 groups need coefficients of shape \(3, 1\), not \(2, 1\)",
        ),
        (
            lambda tv: Combination(tv, "task")(torch.zeros(3, 1), torch.zeros(4)),
            r"a mask of these weights has shape \(193,\), not \(4,\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(tv, call, message):
    with pytest.raises(ValueError, match=message):
        call(tv)


def _sizes(tv):
    offsets = tv.layout.offsets
    return [b - a for a, b in zip(offsets, offsets[1:], strict=False)]
