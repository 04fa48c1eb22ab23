"""TaskVectors: reading, algebra, inner products, immutability."""

import os
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from toys import one_tensor, random_state

from mergelib import Layout, TaskVectors
from mergelib.vectors import passes

TASKS = ("svhn", "mnist", "dtd")


@pytest.fixture
def states():
    base = random_state(0)
    return base, {task: random_state(i + 1, near=base) for i, task in enumerate(TASKS)}


@pytest.fixture
def tv(states):
    return TaskVectors.from_states(*states)


def test_files_and_states_give_the_same(tmp_path, states, tv):
    base, experts = states
    save_file(base, tmp_path / "base.safetensors")
    for task, state in experts.items():
        save_file(state, tmp_path / f"{task}.safetensors")
    files = {task: os.fspath(tmp_path / f"{task}.safetensors") for task in experts}
    read = TaskVectors.from_files(tmp_path / "base.safetensors", files)
    assert read.tasks == tv.tasks == TASKS
    assert torch.equal(read.base, tv.base) and torch.equal(read.deltas, tv.deltas)
    assert read.deltas.dtype == torch.float32 and read.deltas.shape == (3, read.layout.size)


def test_deltas_are_expert_minus_base(states, tv):
    base, experts = states
    for task in TASKS:
        expected = tv.layout.flatten(experts[task]) - tv.layout.flatten(base)
        assert torch.equal(tv[task].deltas[0], expected)


def test_float64_checkpoints_are_subtracted_before_rounding():
    base = {"w": torch.tensor([1.0], dtype=torch.float64)}
    tv = TaskVectors.from_states(base, {"t": {"w": base["w"] + 1e-12}})
    assert tv.deltas.item() == pytest.approx(1e-12, rel=1e-3)


def test_indexing(tv):
    assert tv["mnist"].tasks == ("mnist",) and len(tv["mnist"]) == 1
    assert torch.equal(tv["mnist"].deltas, tv.deltas[1:2])
    both = tv[["dtd", "svhn"]]
    assert both.tasks == ("dtd", "svhn") and torch.equal(both.deltas, tv.deltas[[2, 0]])
    assert list(tv) == list(TASKS) and "dtd" in tv and "cars" not in tv
    assert repr(tv).startswith("TaskVectors(K=3, P=193, cpu: svhn, mnist, dtd")


def test_a_misspelt_task_is_named_with_those_there_are(tv):
    expected = "no task 'mnits' among svhn, mnist, dtd; did you mean 'mnist'?"
    for key in ("mnits", ["svhn", "mnits"]):
        with pytest.raises(KeyError) as error:
            tv[key]
        assert str(error.value) == expected
    with pytest.raises(ValueError, match="at least one task"):
        tv[[]]


def test_algebra(tv):
    assert torch.equal((-tv).deltas, -tv.deltas)
    assert torch.equal((0.3 * tv).deltas, tv.deltas * 0.3)
    assert torch.equal((tv * 0.3).deltas, (0.3 * tv).deltas)
    weights = torch.tensor([1.0, 0, -2])
    assert torch.equal((weights * tv).deltas, tv.deltas * weights[:, None])
    assert torch.equal((tv + tv).deltas, 2 * tv.deltas)
    assert torch.equal((tv - tv).deltas, torch.zeros_like(tv.deltas))
    assert torch.equal(tv.sum(), tv.deltas.sum(0))
    joined = tv["svhn"] - tv["dtd"]
    assert joined.tasks == ("svhn", "dtd")
    assert torch.equal(joined.sum(), tv.deltas[0] - tv.deltas[2])
    backwards = tv[list(reversed(TASKS))]
    assert torch.equal((tv + backwards).deltas, (tv + tv).deltas)


def test_algebra_refuses_what_makes_no_sense(tv, states):
    with pytest.raises(ValueError, match="share some tasks and not others"):
        tv + tv["svhn"]
    base, experts = states
    moved = TaskVectors.from_states(experts["svhn"], {"x": base})
    with pytest.raises(ValueError, match="different base weights"):
        tv + moved
    with pytest.raises(ValueError, match="differ in their tensors"):
        tv + one_tensor(torch.ones(1, tv.layout.size))
    with pytest.raises(ValueError, match="one number or by 3"):
        tv * torch.ones(2)
    with pytest.raises(TypeError):
        tv + 1


def test_construction_refuses_what_does_not_fit(tv):
    base, deltas, layout = tv.base, tv.deltas, tv.layout
    for tasks, b, d, says in (
        (("a", "a", "b"), base, deltas, "must differ"),
        (("a", "b"), base, deltas, "deltas of shape"),
        (TASKS, base[1:], deltas, "need a base of shape"),
        (TASKS, base.double(), deltas, "both be float32"),
        (TASKS, base.half(), deltas.half(), "both be float32"),
        (TASKS, base.to("meta"), deltas, "base is on meta but deltas are on cpu"),
        ((), base, deltas, "at least one"),
    ):
        with pytest.raises(ValueError, match=says):
            TaskVectors(tasks, b, d, layout)


def test_immutable(tv):
    with pytest.raises(AttributeError, match="immutable"):
        tv.base = tv.base * 2
    with pytest.raises(AttributeError, match="immutable"):
        tv.tasks = ()


@pytest.mark.parametrize("part", ["base", "deltas"])
def test_a_change_in_place_is_noticed(tv, part):
    getattr(tv, part)[0] = 7
    with pytest.raises(RuntimeError, match="changed in place"):
        tv.sum()


def test_nothing_mutates(tv):
    before = tv.base.clone(), tv.deltas.clone()
    _ = (-tv, 2 * tv, tv + tv, tv.sum(), tv.gram("block"), tv.cosines(), tv.norms("tensor"))
    assert torch.equal(tv.base, before[0]) and torch.equal(tv.deltas, before[1])


def test_pickle_and_dtype(tv):
    again = pickle.loads(pickle.dumps(tv[["svhn"]].to(dtype=torch.float64)))
    assert again.tasks == ("svhn",) and again.deltas.dtype == torch.float64
    assert torch.equal(again.deltas.float(), tv["svhn"].deltas)


@settings(max_examples=25, deadline=None)
@given(
    tasks=st.integers(1, 5),
    size=st.sampled_from([1, 7, 1000, 5 * passes.CPU_WIDTH + 3]),
    seed=st.integers(0, 99),
)
def test_gram_equals_a_float64_product(tasks, size, seed):
    generator = torch.Generator().manual_seed(seed)
    deltas = torch.randn(tasks, size, generator=generator)
    deltas *= 10 ** torch.linspace(-3, 3, tasks)[:, None]
    tv = one_tensor(deltas)
    expected = torch.einsum("ip,jp->ij", deltas.double(), deltas.double())
    bound = torch.einsum("ip,jp->ij", deltas.double().abs(), deltas.double().abs())
    assert ((tv.gram() - expected).abs() <= 1e-13 * bound).all()
    assert tv.gram().dtype == torch.float64 and torch.equal(tv.gram(), tv.gram().T)
    norms = deltas.double().norm(dim=1)
    torch.testing.assert_close(tv.norms(), norms, rtol=1e-12, atol=0)
    cosines = expected / norms[:, None] / norms
    torch.testing.assert_close(tv.cosines(), cosines, rtol=0, atol=1e-12)


def test_gram_does_not_cancel_in_float32():
    """A sum that float32 gets wrong by all its digits: 10⁸ + 1 − 10⁸, squared terms likewise."""
    big = 1e4
    tv = one_tensor(torch.tensor([[big, 1.0, big], [big, 1.0, -big]]))
    assert tv.gram()[0, 1] == 1.0


@pytest.mark.parametrize("by", ["block", "tensor"])
def test_grams_of_groups(tv, by):
    grams = tv.gram(by)
    segments = tv.layout.segments(by)
    assert grams.shape == (len(segments), 3, 3)
    torch.testing.assert_close(grams.sum(0), tv.gram(), rtol=1e-12, atol=1e-12)
    for gram, segment in zip(grams, segments, strict=True):
        part = torch.cat([tv.deltas[:, s] for s in segment.slices], dim=1).double()
        torch.testing.assert_close(gram, part @ part.T, rtol=1e-12, atol=1e-12)
    squares = tv.norms(by).square().sum(0)
    torch.testing.assert_close(squares, tv.norms().square(), rtol=1e-12, atol=0)


def test_grams_of_groups_longer_than_a_piece():
    size = 2 * passes.CPU_WIDTH + 5
    sizes = [size, 3, size]
    layout = Layout.from_state({f"t{i}": torch.zeros(n) for i, n in enumerate(sizes)})
    deltas = torch.randn(2, layout.size, generator=torch.Generator().manual_seed(0))
    grams = TaskVectors("xy", torch.zeros(layout.size), deltas, layout).gram("tensor")
    for gram, place in zip(grams, deltas.double().split(sizes, dim=1), strict=True):
        torch.testing.assert_close(gram, place @ place.T, rtol=1e-12, atol=1e-10)


def test_cosines_of_zero_vectors():
    tv = one_tensor(torch.tensor([[1.0, 0], [0, 0], [-2, 0]]))
    assert tv.cosines().tolist() == [[1, 0, -1], [0, 1, 0], [-1, 0, 1]]


def test_the_number_of_threads_changes_no_bit():
    deltas = torch.randn(3, 9 * passes.CPU_WIDTH, generator=torch.Generator().manual_seed(0))
    tv = one_tensor(deltas)
    threads = torch.get_num_threads()
    try:
        grams = []
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            grams.append(tv.gram())
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(grams[0], grams[1]) and torch.equal(grams[0], grams[2])


@pytest.mark.cuda
def test_on_cuda(tv, states):
    there = tv.to("cuda")
    assert there.gram().is_cuda
    torch.testing.assert_close(there.gram("block").cpu(), tv.gram("block"), rtol=1e-12, atol=1e-12)
    read = TaskVectors.from_states(*states, device="cuda")
    assert torch.equal(read.deltas.cpu(), tv.deltas)
