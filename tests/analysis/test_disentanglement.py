"""The disentanglement error: against a cell-by-cell evaluation and models where it is known."""

import numpy as np
import pytest
import torch
from toys import Halves, PlainHead, linear_bench, normal

from mergelib.analysis import interference, planes
from mergelib.analysis.planes import DisentanglementMap
from mergelib.evaluation import encode
from mergelib.workbench import open_workbench


@pytest.fixture(scope="module")
def bench():
    return open_workbench("pico", device="cpu")


def answers(bench, vector, task, n, split="val"):
    images = bench.suite[task].split(split).inputs.values[:n]
    features = encode(bench.encoder, images, bench.tv.layout.unflatten(vector))
    return bench.heads[task](features).argmax(1)


def test_each_cell_is_the_disagreement_of_its_models(bench):
    found = planes.disentanglement_map(bench, ["spots", "digits"], num=4, limit=25)
    assert found.alphas.tolist() == [-1, 0, 1, 2]
    first, second = (bench.tv[name].deltas[0] for name in ("spots", "digits"))
    for i, a in enumerate(found.alphas):
        for j, b in enumerate(found.alphas):
            both, xi = bench.tv.base + a * first + b * second, 0.0
            for t, single in enumerate((bench.tv.base + a * first, bench.tv.base + b * second)):
                task = found.tasks[t]
                pair = answers(bench, single, task, 25), answers(bench, both, task, 25)
                share = float((pair[0] != pair[1]).double().mean())
                assert found.changed[t, i, j] == pytest.approx(share, abs=0.041)  # one of 25
                xi += found.changed[t, i, j]
            assert found.error[i, j] == pytest.approx(xi)
    assert (found.changed > 0).mean() > 0.5
    assert (found.changed[0, :, 1] == 0).all() and (found.changed[1, 1] == 0).all()


@pytest.mark.parametrize(("start", "models"), [(0.5, 3 + 9), (0.0, 3 + 6)])
def test_each_model_is_run_once_on_the_inputs_of_a_task(bench, monkeypatch, start, models):
    seen, real = [], planes.predict

    def counting(encoder, head, images, weights, precision):
        vector = torch.cat([v.flatten() for v in weights.values() if v.is_floating_point()])
        seen.append((round(float(vector.double() @ vector.double()), 4), len(images), id(head)))
        return real(encoder, head, images, weights, precision=precision)

    monkeypatch.setattr(planes, "predict", counting)
    options = {"start": start, "stop": 1.5, "num": 3, "limit": 9}
    planes.disentanglement_map(bench, ["bars", "spots"], **options)
    assert len(seen) == len(set(seen)) == 2 * models


def halves(upper, lower):
    """Task a reads the block of the upper row of pixels, task b that of the lower one.

    `upper` and `lower` are (K, 18): the tasks' vectors in the two blocks.
    """
    none = torch.zeros(3, 3, dtype=torch.float64)
    bias = torch.zeros(3, dtype=torch.float64)
    heads = {
        "a": PlainHead(torch.cat([normal(3, 3), none], 1), bias),
        "b": PlainHead(torch.cat([none, normal(3, 3, seed=1)], 1), bias),
    }
    deltas = torch.cat([lower, upper], 1)  # tensors lie in the vector in the order of their names
    return linear_bench(deltas.float(), encoder=Halves(3), heads=heads)


def only(row, seed):
    """Random in one of two rows, zero in the other."""
    return torch.eye(2, dtype=torch.float64)[row].unsqueeze(1) * normal(2, 18, seed=seed)


def test_tasks_that_use_disjoint_inputs_are_disentangled_everywhere():
    bench = halves(upper=only(0, seed=2), lower=only(1, seed=3))
    found = planes.disentanglement_map(bench, "ab", start=-3, stop=3, num=5, limit=None)
    assert (found.changed == 0).all()
    assert (planes.disentanglement_error(bench, scale=2.0)["changed"] == 0).all()
    table = interference.consistency(bench, scale=2.0)
    assert table[["gap", "predicted", "changed"]].abs().to_numpy().max() < 1e-12


def test_a_vector_in_the_others_block_disturbs_that_task_only():
    bench = halves(upper=normal(2, 18, seed=2), lower=only(1, seed=3))
    found = planes.disentanglement_map(bench, "ab", start=-3, stop=3, num=5, limit=None)
    assert (found.changed[0, :, [0, 1, 3, 4]] > 0).all()
    assert (found.changed[1] == 0).all()


def test_of_two_tasks_the_sum_is_the_map_on_the_diagonal(bench):
    two = bench.tv[["bars", "digits"]]
    table = planes.disentanglement_error(bench, two, scale=0.7, limit=40)
    options = {"start": 0.7, "stop": 1.4, "num": 2, "limit": 40}
    cell = planes.disentanglement_map(bench, two.tasks, **options).error[0, 0]
    assert table["changed"].sum() == pytest.approx(cell, abs=0.026)  # one image of 40


def test_the_k_task_form_counts_changed_answers(bench):
    table = planes.disentanglement_error(bench, scale=0.5, limit=30, split="test")
    merged = bench.tv.base + 0.5 * bench.tv.sum()
    for row in table.itertuples():
        alone = bench.tv.base + 0.5 * bench.tv[row.task].deltas[0]
        pair = (answers(bench, v, row.task, 30, "test") for v in (alone, merged))
        assert row.changed == float((next(pair) != next(pair)).double().mean())
        assert row.low <= row.changed <= row.high and row.n == 30


def test_single_edits_may_use_other_vectors_than_the_merge(bench):
    shrunk = 0.5 * bench.tv
    same = planes.disentanglement_error(bench, shrunk, scale=1.0, limit=30)
    both = planes.disentanglement_error(bench, shrunk, 1.0, limit=30, single=bench.tv)
    merged = bench.tv.base + 0.5 * bench.tv.sum()
    for row in both.itertuples():
        pair = (
            answers(bench, bench.expert(row.task), row.task, 30),
            answers(bench, merged, row.task, 30),
        )
        assert row.changed == float((pair[0] != pair[1]).double().mean())
    assert not np.array_equal(same["changed"], both["changed"])


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (lambda b: planes.disentanglement_map(b, b.suite.names), "two tasks, not of 3"),
        (lambda b: planes.disentanglement_map(b, ["bars", "x"]), "no task 'x'"),
        (lambda b: planes.disentanglement_map(b, b.suite.names[:2], limit=-1), "not -1"),
        (lambda b: planes.disentanglement_error(b, scale=float("inf")), "must be finite"),
        (lambda b: planes.disentanglement_error(b, split="dev"), "unknown split 'dev'"),
    ],
)
def test_what_cannot_be_measured_is_named(bench, measure, message):
    with pytest.raises((KeyError, ValueError), match=message):
        measure(bench)


def test_the_error_at_one_is_read_off_the_nearest_grid_point():
    alphas = np.array([-0.5, 0.2, 0.9, 1.6])
    changed = np.arange(32.0).reshape(2, 4, 4) / 100
    surface = DisentanglementMap(("a", "b"), alphas, changed)
    assert planes.error_at_one(surface) == pytest.approx(0.10 + 0.26)
