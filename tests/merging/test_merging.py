"""Static methods against slow obvious versions, worked examples and properties."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from toys import one_tensor, random_state

from mergelib import Layout, TaskVectors, merging
from mergelib.vectors import passes

METHODS = {
    "task_arithmetic": merging.task_arithmetic,
    "ties": merging.ties,
    "ties, mean, dense": lambda tv, scale: merging.ties(tv, 1.0, scale, "mean"),
    "dare": lambda tv, scale: merging.dare(tv, 0.6, scale, seed=3),
    "dare, ties": lambda tv, scale: merging.dare(tv, 0.6, scale, seed=3, then="ties"),
}
each_method = pytest.mark.parametrize("merge", METHODS.values(), ids=METHODS)


def random_vectors(tasks=3, size=1000, seed=0, base=True):
    generator = torch.Generator().manual_seed(seed)
    deltas = torch.randn(tasks, size, generator=generator)
    return one_tensor(deltas, torch.randn(size, generator=generator) if base else None)


# A few integers give many exact ties and cancellations; multiples of 1/8 add without rounding.
small_matrices = st.tuples(st.integers(1, 4), st.integers(1, 12)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(-3, 3), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


def slow_ties(base, deltas, density, scale, merge):
    """TIES coordinate by coordinate in Python numbers."""
    tasks, size = len(deltas), len(base)
    kept = max(1, math.floor(density * size + 1e-9))
    trimmed = []
    for delta in deltas:
        threshold = sorted((abs(x) for x in delta), reverse=True)[kept - 1]
        trimmed.append([x if abs(x) >= threshold else 0.0 for x in delta])
    signs = []
    for p in range(size):
        total = sum(trimmed[k][p] for k in range(tasks))
        signs.append((total > 0) - (total < 0))
    majority = (sum(signs) > 0) - (sum(signs) < 0)
    merged = []
    for p in range(size):
        sign = signs[p] or majority
        agreeing = [trimmed[k][p] for k in range(tasks) if trimmed[k][p] * sign > 0]
        value = sum(agreeing)
        if merge == "mean" and agreeing:
            value /= len(agreeing)
        merged.append(base[p] + scale * value)
    return np.array(merged)


@pytest.mark.parametrize("merge", ["sum", "mean"])
@settings(max_examples=150, deadline=None)
@given(deltas=small_matrices, density=st.sampled_from([0.05, 0.2, 0.29, 0.5, 0.75, 1.0]))
def test_ties_equals_the_slow_version(merge, deltas, density):
    base = [0.5 * p for p in range(len(deltas[0]))]
    tv = one_tensor(torch.tensor(deltas, dtype=torch.float32), torch.tensor(base))
    result = merging.ties(tv, density, 0.5, merge)
    expected = slow_ties(base, deltas, density, 0.5, merge)
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("merge", ["sum", "mean"])
def test_ties_equals_the_slow_version_on_random_numbers(merge):
    tv = random_vectors(tasks=4, size=2000)
    expected = slow_ties(tv.base.tolist(), tv.deltas.tolist(), 0.3, 0.4, merge)
    result = merging.ties(tv, 0.3, 0.4, merge).numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


def test_ties_by_hand():
    """Two tasks, six weights, density 1/2: each keeps its three largest.

    τ_a = (4, −1, 0.5, −3, 0.2,  2) keeps (4, 0, 0, −3, 0, 2)
    τ_b = (1,  5, 0.1,  2, −6, 1.5) keeps (0, 5, 0,  2, −6, 0)
    sums                                  (4, 5, 0, −1, −6, 2), signs (+, +, 0, −, −, +)
    agreeing values                       (4, 5, 0, −3, −6, 2)
    """
    tv = one_tensor(torch.tensor([[4, -1, 0.5, -3, 0.2, 2], [1, 5, 0.1, 2, -6, 1.5]]))
    trimmed = merging.ties_trim(tv, 0.5)
    assert trimmed.deltas.tolist() == [[4, 0, 0, -3, 0, 2], [0, 5, 0, 2, -6, 0]]
    assert merging.elect_sign(trimmed).tolist() == [1, 1, 1, -1, -1, 1]
    assert merging.ties(tv, 0.5, 1.0).tolist() == [4, 5, 0, -3, -6, 2]
    assert merging.ties(tv, 0.5, 2.0).tolist() == [8, 10, 0, -6, -12, 4]
    dense = merging.ties(tv, 1.0, 1.0, "mean").tolist()
    assert dense == pytest.approx([2.5, 5, 0.3, -3, -6, 1.75])


@pytest.mark.parametrize("lean, expected", [(1.0, [3, 1, 1]), (-1.0, [-3, -1, -1]), (0.0, [0] * 3)])
def test_a_cancelled_coordinate_takes_the_side_of_the_whole_model(lean, expected):
    """The first coordinate is 3 − 3; the others vote `lean`."""
    tv = one_tensor(torch.tensor([[3.0, lean, lean], [-3.0, 0, 0]]))
    assert merging.ties(tv, 1.0, 1.0).tolist() == expected
    assert merging.elect_sign(tv).tolist() == [np.sign(lean)] * 3


def test_ties_keeps_all_that_equal_the_threshold():
    tv = one_tensor(torch.tensor([[1.0, -2, 2, 0.5, -2]]))
    assert merging.ties_trim(tv, 0.4).deltas.tolist() == [[0, -2, 2, 0, -2]]


def test_density_one_keeps_all_and_little_keeps_the_largest():
    tv = random_vectors()
    assert torch.equal(merging.ties_trim(tv, 1.0).deltas, tv.deltas)
    kept = merging.ties_trim(tv, 1e-9).deltas
    assert (kept != 0).sum(1).tolist() == [1, 1, 1]
    assert torch.equal(kept.abs().amax(1), tv.deltas.abs().amax(1))


def test_the_split_vectors_are_what_ties_adds_up():
    tv = random_vectors(tasks=4)
    split = merging.ties_split(tv, 0.3)
    signs, trimmed = merging.elect_sign(merging.ties_trim(tv, 0.3)), merging.ties_trim(tv, 0.3)
    torch.testing.assert_close(split.base + 0.4 * split.sum(), merging.ties(tv, 0.3, 0.4))
    for row, before in zip(split.deltas, trimmed.deltas, strict=True):
        agrees = before.sign() == signs
        assert torch.equal(row, torch.where(agrees, before, torch.zeros_like(before)))
    by_hand = one_tensor(torch.tensor([[4, -1, 0.5, -3, 0.2, 2], [1, 5, 0.1, 2, -6, 1.5]]))
    assert merging.ties_split(by_hand, 0.5).deltas.tolist() == [
        [4, 0, 0, -3, 0, 2],
        [0, 5, 0, 0, -6, 0],
    ]


def test_trim_is_over_the_whole_model_not_per_tensor():
    states = {"a": torch.tensor([1.0, 2]), "b": torch.tensor([10.0, 20])}
    tv = TaskVectors.from_states({n: torch.zeros(2) for n in states}, {"t": states})
    assert merging.ties_trim(tv, 0.5).deltas.tolist() == [[0, 0, 10, 20]]


def test_elected_signs_do_not_depend_on_rounding():
    """In float32, 10⁸ + 1 − 10⁸ is 0 or 1, as the order has it."""
    values = [1e8, 1.0, -1e8]
    for order in ([0, 1, 2], [0, 2, 1], [2, 1, 0]):
        tv = one_tensor(torch.tensor([[values[i]] for i in order]))
        assert merging.elect_sign(tv).tolist() == [1]


@each_method
def test_scale_zero_gives_the_base_to_the_bit(merge, tmp_path):
    state = random_state(0) | {"visual.ln_post.weight": torch.tensor([-0.0, 0.0, 1.0, 2.0])}
    tv = TaskVectors.from_states(state, {f"t{i}": random_state(i) for i in (1, 2)})
    merged = merge(tv, scale=0)
    assert torch.equal(merged.view(torch.int32), tv.base.view(torch.int32))
    assert merged.data_ptr() != tv.base.data_ptr()
    tv.layout.save(merged, tmp_path / "m.safetensors")
    loaded = load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(loaded[n].view(-1), t.view(-1)) for n, t in state.items())


@pytest.mark.parametrize(
    "merge",
    [
        lambda tv: merging.task_arithmetic(tv, 1),
        merging.average,
        lambda tv: merging.ties(tv, 1.0, 1.0),
        lambda tv: merging.dare(tv, 0.0, 1.0),
    ],
)
@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(*[st.floats(-1e3, 1e3, width=32)] * 2), min_size=1))
def test_one_task_at_scale_one_gives_the_expert(merge, pairs):
    """Up to the rounding of one subtraction and one addition in float32."""
    base, expert = torch.tensor(pairs).T.contiguous()
    tv = TaskVectors.from_states({"w": base}, {"t": {"w": expert}})
    unit = 2.0**-24
    bound = unit * (tv.deltas[0].abs() + expert.abs()) * 1.01 + 1e-44
    assert ((merge(tv) - expert).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_expert_comes_back_to_the_bit(tmp_path, dtype):
    base = random_state(0, dtype)
    expert = random_state(1, dtype, near=base)
    tv = TaskVectors.from_states(base, {"t": expert})
    tv.layout.save(merging.task_arithmetic(tv, 1), tmp_path / "m.safetensors")
    loaded = load_file(tmp_path / "m.safetensors")
    assert all(torch.equal(loaded[n], t) and loaded[n].dtype == t.dtype for n, t in expert.items())


def test_task_arithmetic_and_average_are_their_equations():
    tv = random_vectors(tasks=4)
    expected = tv.base + 0.3 * tv.deltas.sum(0)
    torch.testing.assert_close(merging.task_arithmetic(tv, 0.3), expected)
    torch.testing.assert_close(merging.task_arithmetic(tv), expected)
    scales = [0.1, -0.2, 0.0, 1.5]
    expected = tv.base + sum(s * d for s, d in zip(scales, tv.deltas, strict=True))
    torch.testing.assert_close(merging.task_arithmetic(tv, scales), expected)
    torch.testing.assert_close(merging.task_arithmetic(tv, torch.tensor(scales)), expected)
    experts = tv.base + tv.deltas
    torch.testing.assert_close(merging.average(tv), experts.mean(0))


def test_the_gradient_reaches_the_scales():
    tv = random_vectors(tasks=2)
    scales = torch.zeros(2, requires_grad=True)
    merging.task_arithmetic(tv, scales).sum().backward()
    torch.testing.assert_close(scales.grad, tv.deltas.sum(1))


@each_method
@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(4)), seed=st.integers(0, 50))
def test_the_order_of_tasks_does_not_matter(merge, order, seed):
    tv = random_vectors(tasks=4, size=300, seed=seed)
    shuffled = tv[[tv.tasks[i] for i in order]]
    torch.testing.assert_close(merge(shuffled, scale=0.4), merge(tv, scale=0.4), rtol=0, atol=1e-5)


@each_method
@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=5), seed=st.integers(0, 50))
def test_how_parameters_are_divided_into_tensors_does_not_matter(merge, cuts, seed):
    tv = random_vectors(tasks=3, size=300, seed=seed)
    edges = sorted({0, *cuts, 300})
    tensors = {f"{a:03}": tv.base[a:b] for a, b in zip(edges, edges[1:], strict=False)}
    divided = TaskVectors(tv.tasks, tv.base, tv.deltas, Layout.from_state(tensors))
    assert torch.equal(merge(divided, scale=0.4), merge(tv, scale=0.4))


@each_method
def test_the_width_of_passes_and_the_threads_do_not_matter(merge, monkeypatch):
    tv = random_vectors(tasks=5, size=5000)
    tv = tv.with_deltas((tv.deltas * 4).round())  # many ties and cancellations
    whole = merge(tv, scale=0.4)
    monkeypatch.setattr(passes, "columns", _narrow_columns)
    threads = torch.get_num_threads()
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            torch.testing.assert_close(merge(tv, scale=0.4), whole, rtol=1e-6, atol=1e-6)
    finally:
        torch.set_num_threads(threads)


def _narrow_columns(size, device, start=0, cpu_width=None):
    return [slice(i, min(i + 777, start + size)) for i in range(start, start + size, 777)]


@each_method
def test_nothing_is_changed(merge):
    tv = random_vectors()
    before = tv.base.clone(), tv.deltas.clone()
    merge(tv, scale=0.4)
    assert torch.equal(tv.base, before[0]) and torch.equal(tv.deltas, before[1])


def test_dare_keeps_the_expected_share_rescaled():
    tv = one_tensor(torch.ones(2, 100_000))
    for drop in (0.0, 0.3, 0.9):
        thinned = merging.dare_drop(tv, drop, seed=1).deltas
        values = thinned.unique().tolist()
        assert values == pytest.approx(sorted({0.0, 1 / (1 - drop)} if drop else {1.0}))
        deviation = math.sqrt(drop / (1 - drop) / thinned.numel())
        assert abs(thinned.mean().item() - 1) <= 5 * deviation + 1e-6


def test_the_expectation_of_dare_is_the_task_vector():
    tv = random_vectors(tasks=2, size=50, base=False)
    draws = 2000
    mean = sum(merging.dare_drop(tv, 0.5, seed).deltas for seed in range(draws)) / draws
    # Each entry's standard deviation is |τ| · √(p / (1 − p) / draws) = |τ| / √draws.
    assert ((mean - tv.deltas).abs() <= 5 * tv.deltas.abs() / math.sqrt(draws)).all()


def test_draws_of_dare_depend_on_seed_and_task_alone():
    tv = random_vectors(tasks=3)
    thinned = merging.dare_drop(tv, 0.5, seed=4)
    assert torch.equal(merging.dare_drop(tv, 0.5, seed=4).deltas, thinned.deltas)
    assert torch.equal(merging.dare_drop(tv["b"], 0.5, seed=4).deltas, thinned["b"].deltas)
    assert not torch.equal(merging.dare_drop(tv, 0.5, seed=5).deltas, thinned.deltas)
    kept = thinned.deltas != 0
    # Two independent masks of probability 1/2 agree at about half of the 1,000 places.
    assert 400 < (kept[0] == kept[1]).sum() < 600


def test_dare_is_its_parts():
    tv = random_vectors(tasks=3)
    thinned = merging.dare_drop(tv, 0.7, seed=2)
    torch.testing.assert_close(
        merging.dare(tv, 0.7, [0.1, 0, 0.5], seed=2),
        merging.task_arithmetic(thinned, [0.1, 0, 0.5]),
    )
    both = merging.dare(tv, 0.7, 0.5, seed=2, then="ties", density=0.1)
    assert torch.equal(both, merging.ties(thinned, 0.1, 0.5))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda tv: merging.ties(tv, 0), "density must be above 0 and at most 1, not 0"),
        (lambda tv: merging.ties(tv, 20), "density must be .* not 20"),
        (lambda tv: merging.ties_trim(tv, NAN), "density must be .* not nan"),
        (lambda tv: merging.ties(tv, scale=INF), "scale must be finite, not inf"),
        (lambda tv: merging.ties(tv, merge="max"), "merge must be .* not 'max'"),
        (lambda tv: merging.task_arithmetic(tv, NAN), "scale must be finite, not nan"),
        (lambda tv: merging.task_arithmetic(tv, [1.0, 2.0]), "one number or 3"),
        (lambda tv: merging.dare(tv, 1.0), "drop must be at least 0 and below 1, not 1"),
        (lambda tv: merging.dare_drop(tv, -0.1), "drop must be .* not -0.1"),
        (lambda tv: merging.dare_drop(tv, NAN), "drop must be .* not nan"),
        (lambda tv: merging.dare(tv, seed=-1), "seed must not be negative"),
        (lambda tv: merging.dare(tv, then="awd"), "then must be .* not 'awd'"),
        (lambda tv: merging.dare(tv, scale=INF), "scale must be finite"),
    ],
)
def test_bad_numbers_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call(random_vectors())


@pytest.mark.cuda
@each_method
def test_cuda_gives_the_same(merge):
    tv = random_vectors(tasks=4, size=5000)
    result = merge(tv.to("cuda"), scale=0.4)
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), merge(tv, scale=0.4), rtol=0, atol=1e-5)
