"""What AWD returns: that its report is true, what follows from it and what must not matter."""

import pickle

import pytest
import torch
from leaning import leaning, model, vectors

from mergelib import TaskVectors, merging
from mergelib.vectors import passes
from mergelib.vectors.groups import Groups


@pytest.mark.parametrize("granularity", ["model", "block", "tensor", "row"])
@pytest.mark.parametrize("within_span", [True, False])
def test_the_report_is_true_of_the_vectors(granularity, within_span):
    tv = model()
    apart = merging.awd(tv, 0.1, granularity, within_span=within_span)
    torch.testing.assert_close(apart.deltas + apart.redundant, tv.deltas, rtol=0, atol=1e-15)
    report, zero = apart.report, torch.zeros_like(tv.base)
    for redundant, reported in ((apart.redundant, report.objective), (zero, report.before)):
        found = merging.awd_objective(tv, redundant, 0.1, granularity)
        torch.testing.assert_close(
            reported.squeeze(), torch.as_tensor(found, dtype=torch.float64), rtol=1e-8, atol=1e-12
        )
    assert (report.unrestricted <= report.in_span).all() and (report.in_span <= report.before).all()
    assert torch.equal(report.objective, report.in_span if within_span else report.unrestricted)
    assert not (within_span and report.outside.any())
    assert len(report.groups) == len(report.coefficients) == len(report.iterations)


@pytest.mark.parametrize("granularity", ["model", "block", "tensor"])
def test_coefficients_make_the_redundant_vector(granularity):
    tv = model()
    apart = merging.awd(tv, 0.1, granularity)
    for segment, c in zip(tv.layout.segments(granularity), apart.report.coefficients, strict=True):
        for place in segment.slices:
            torch.testing.assert_close(apart.redundant[place], c @ tv.deltas[:, place])
    assert apart.redundant.any()


def test_rows_are_solved_as_if_each_were_a_model():
    tv = model()
    apart = merging.awd(tv, 0.05, "row")
    state = tv.layout.unflatten(apart.redundant)
    deltas = [tv.layout.unflatten(delta) for delta in tv.deltas]
    names = iter(zip(apart.report.groups, apart.report.objective, strict=True))
    for name, shape in zip(tv.layout.names, tv.layout.shapes, strict=True):
        if state[name].numel() == 0:
            continue
        rows = range(shape[0]) if len(shape) > 1 else [...]
        for i in rows:
            group, objective = next(names)
            assert group == (name if i is ... else f"{name}[{i}]")
            row = torch.stack([delta[name][i].reshape(-1) for delta in deltas])
            alone = merging.awd(vectors(row), 0.05)
            assert objective.item() == pytest.approx(alone.report.objective.item(), rel=1e-9)
            mine = state[name][i].reshape(-1)
            torch.testing.assert_close(mine, alone.redundant, atol=1e-6, rtol=1e-5)
    assert next(names, None) is None


def test_one_tensor_is_the_model():
    tv = leaning()
    model, tensor = (merging.awd(tv, 0.1, granularity) for granularity in ("model", "tensor"))
    assert torch.equal(model.deltas, tensor.deltas)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_task_arithmetic_it_is_task_arithmetic_with_task_weights(dtype):
    """λ Σ_i (τ_i − δ) = Σ_k λ (1 − K c_k) τ_k."""
    tv = leaning().to(dtype=dtype)
    apart = merging.awd(tv, 0.05)
    assert apart.redundant.any()
    weights = 0.3 * (1 - len(tv) * apart.report.coefficients[0])
    expected = merging.task_arithmetic(tv, weights)
    torch.testing.assert_close(merging.task_arithmetic(apart, 0.3), expected, atol=1e-6, rtol=1e-5)
    merged = merging.awd_task_arithmetic(tv, 0.3, 0.05)
    assert torch.equal(merged, merging.task_arithmetic(apart, 0.3))


def test_it_composes_like_any_task_vectors():
    tv = leaning()
    apart = merging.awd(tv, 0.05, "tensor")
    plain = tv.with_deltas(tv.deltas - apart.redundant)
    for merge in (merging.ties, merging.dare, merging.average):
        assert torch.equal(merge(apart), merge(plain))
    assert torch.equal(apart["b"].deltas, plain["b"].deltas)
    assert torch.equal(apart.sum(), plain.sum())
    assert isinstance(apart, TaskVectors) and list(apart) == list(tv)
    again = pickle.loads(pickle.dumps(apart))
    assert torch.equal(again.redundant, apart.redundant) and again.report.groups == ("w",)
    assert torch.equal(again.deltas, apart.deltas) and "shared vector" in repr(again)
    with pytest.raises(AttributeError, match="immutable"):
        apart.redundant = tv.base


def test_the_order_of_the_tasks_does_not_matter():
    tv, order = leaning(), [2, 0, 3, 1]
    apart = merging.awd(tv, 0.05)
    shuffled = merging.awd(tv[[tv.tasks[i] for i in order]], 0.05)
    torch.testing.assert_close(shuffled.deltas, apart.deltas[order], atol=1e-6, rtol=0)
    coefficients = apart.report.coefficients[:, order]
    torch.testing.assert_close(shuffled.report.coefficients, coefficients, atol=1e-6, rtol=0)


def test_neither_pieces_nor_cores_matter(monkeypatch):
    tv = model()
    threads = torch.get_num_threads()
    for granularity in ("model", "block", "row"):
        whole = merging.awd(tv, 0.1, granularity)
        monkeypatch.setattr(passes, "width", lambda *_: 7)
        pieces = merging.awd(tv, 0.1, granularity)
        try:
            torch.set_num_threads(3)
            on_three = merging.awd(tv, 0.1, granularity)
        finally:
            torch.set_num_threads(threads)
            monkeypatch.undo()
        torch.testing.assert_close(pieces.redundant, whole.redundant, atol=1e-7, rtol=1e-6)
        assert torch.equal(pieces.redundant, on_three.redundant)


def test_groups_cover_every_coordinate_once():
    layout = model().layout
    for by in ("model", "block", "tensor", "row"):
        groups = Groups.of_layout(layout, by)
        covered = torch.zeros(layout.size)
        for tile in groups.pieces(torch.device("cpu")):
            covered[tile.columns] += 1
        assert covered.eq(1).all() and groups.sizes.sum() == layout.size
        assert len(set(groups.names)) == len(groups) == len(groups.sizes)
