"""Paired comparison and the dissection of a redundant vector, against cases worked by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from toys import PIXELS, linear_bench, normal

import mergelib as ml
from mergelib.analysis import awd, comparison, geometry, transfer
from mergelib.analysis.result import Result
from mergelib.intervals import Z95
from mergelib.workbench import open_workbench


@pytest.fixture(scope="module")
def pico():
    return open_workbench("pico", device="cpu")


def compared(*tasks):
    return Result({f"t{i}": torch.tensor(r).bool() for i, r in enumerate(tasks)}, 0.3)


def test_a_difference_and_its_interval_come_from_the_images_that_differ():
    one = compared([1, 1, 1, 0], [1, 0])
    other = compared([1, 0, 1, 0], [1, 1])
    change, half = comparison.difference(one, other)
    assert change == pytest.approx((0.25 - 0.5) / 2)
    # Differences (0, 1, 0, 0) have variance 3/16, (0, −1) have 1/4.
    assert half == pytest.approx(Z95 * np.sqrt(3 / 16 / 4 + 1 / 4 / 2) / 2)
    assert comparison.difference(one, one) == (0, 0)
    table = comparison.differences({"a": one, "b": other}, "b")
    assert table.loc["a", "difference"] == pytest.approx(change)
    assert table.loc["b", "mean"] == pytest.approx((0.5 + 1) / 2)


def test_results_by_task_have_a_row_a_method_and_the_mean():
    one, other = compared([1, 1, 1, 0], [1, 0]), compared([1, 0, 1, 0], [1, 1])
    table = comparison.by_task({"ties": one, "dare": other})
    assert list(table.columns) == ["t0", "t1", "mean"] and table.index.name == "method"
    assert table.to_numpy().tolist() == [[0.75, 0.5, 0.625], [0.5, 1.0, 0.75]]


def test_a_method_of_several_seeds_is_right_on_an_image_as_often_as_its_seeds_are():
    seeds = compared([[1, 1, 0, 0], [1, 0, 0, 0]])
    change, half = comparison.difference(seeds, compared([1, 0, 1, 0]))
    assert change == pytest.approx((1 + 0.5) / 4 - 0.5)
    apart = np.array([0, 0.5, -1, 0])
    assert half == pytest.approx(Z95 * np.sqrt(apart.var() / 4))


def test_models_on_other_images_are_refused():
    with pytest.raises(ValueError, match="the same inputs"):
        comparison.difference(compared([1, 0]), compared([1, 0, 1]))
    with pytest.raises(ValueError, match="the same inputs"):
        comparison.difference(compared([1, 0]), compared([1, 0], [1, 0]))


def test_each_method_takes_the_scale_that_is_best_on_val(pico):
    bench = pico
    merge = bench.along(bench.tv.sum())
    fixed = merge(scale=0.4)
    found = comparison.compare(bench, {"sum": merge, "fixed": fixed}, [0.1, 0.4, 1.0])
    means = bench.sweep(merge, [0.1, 0.4, 1.0], split="val").mean(axis=1)
    assert found["sum"].scale == means.idxmax()
    test = bench.evaluate(merge(scale=found["sum"].scale))
    assert found["sum"].table["correct"].tolist() == test["correct"].tolist()
    assert found["sum"].mean == pytest.approx(test["accuracy"].mean())
    pd.testing.assert_frame_equal(found["sum"].sweep.mean(axis=1).to_frame(), means.to_frame())
    assert found["fixed"].scale is None and found["fixed"].sweep is None
    assert found["fixed"].mean == pytest.approx(bench.evaluate(fixed)["accuracy"].mean())


def test_what_a_multiple_of_the_scale_costs_is_read_off_the_curve():
    sweep = pd.DataFrame({"a": [0.5, 0.9, 0.7], "b": [0.5, 0.7, 0.3]}, index=[0.1, 0.2, 0.6])
    found = {"m": Result({}, 0.2, sweep)}
    assert comparison.lost_at(found) == {"m": pytest.approx(0.8 - 0.65)}
    assert comparison.lost_at(found, 9) == {"m": pytest.approx(0.8 - 0.5)}


def test_a_redundant_vector_is_taken_apart():
    tv = linear_bench(normal(2, 4 * PIXELS)).tv
    outside = normal(1, 4 * PIXELS, seed=5)[0]
    basis = torch.linalg.qr(tv.deltas.T).Q
    outside = outside - basis @ (basis.T @ outside)
    delta = 0.3 * tv.deltas[0] - 0.1 * tv.deltas[1] + outside
    found = awd.dissect(tv, delta)
    inside = found.variants["inside the span"]
    assert inside.numpy() == pytest.approx((delta - outside).numpy(), abs=1e-9)
    assert found.variants["outside the span"].numpy() == pytest.approx(outside.numpy(), abs=1e-9)
    assert found.inside == pytest.approx(float(inside.norm() / delta.norm()))
    assert found.length == pytest.approx(float(delta.norm() / tv.norms().mean()))
    same = (tv.sum().sign() == delta.sign()).double().mean()
    assert found.agreement == pytest.approx(float(same))
    for name in ("signs of Στ", "random", "|δ|, signs of Στ"):
        assert float(found.variants[name].norm()) == pytest.approx(float(delta.norm()))
    with pytest.raises(ValueError, match="zeros"):
        awd.dissect(tv, torch.zeros_like(delta))


def test_weights_of_a_shared_vector_give_the_sum_of_what_is_left():
    tv = linear_bench(normal(3, 4 * PIXELS)).tv
    clean = ml.merging.awd(tv)
    weights = torch.tensor(awd.shared_weights(clean)["weight"].to_numpy())
    assert (weights @ tv.deltas).numpy() == pytest.approx(clean.sum().numpy(), abs=1e-8)


def test_two_points_are_seen_at_right_angles_from_the_circle_of_thales():
    two = np.array([[3.0, 0.4], [1.6, 2.4]])
    seen = geometry.seen_at_right_angles(two)
    assert np.linalg.norm(seen - two.mean(0)) == pytest.approx(
        np.linalg.norm(two[0] - two[1]) / 2, rel=1e-3
    )
    nearest = np.linalg.norm(two.mean(0)) - np.linalg.norm(two[0] - two[1]) / 2
    assert np.linalg.norm(seen) == pytest.approx(nearest, rel=1e-2)


def test_a_larger_alpha_takes_a_shorter_vector(pico):
    bench = pico
    table = awd.by_alpha(bench, [0.0, 0.01, 100.0], [0.1, 0.5], limit=10)
    assert table["length"].is_monotonic_decreasing and table["length"].iloc[-1] == 0
    untouched = np.abs(geometry.off_diagonal(bench.tv.cosines())).mean()
    assert table["|cos|"].iloc[-1] == pytest.approx(untouched)
    assert table["|cos|"].iloc[0] < untouched


def test_a_descent_has_a_time_and_an_objective_for_each_step():
    tv = linear_bench(normal(3, 4 * PIXELS)).tv
    run = ml.merging.awd(tv, solver="descent", steps=7)
    seconds, values = awd.trajectory(run)
    assert len(seconds) == len(values) == 7 and seconds[-1] == pytest.approx(run.report.seconds)
    assert values[-1] == float(run.report.objective)


def test_growth_transforms_the_vectors_of_each_set_by_themselves(pico):
    seen = []

    def double(vectors):
        seen.append(vectors.tasks)
        return 2 * vectors

    expert = dict.fromkeys(pico.suite.names, 1.0)
    limits = {"sets": 1, "val_limit": 20, "test_limit": 20, "smallest": 2}
    twice = transfer.growth(pico, expert, [0.2, 0.4], transform=double, **limits)
    plain = transfer.growth(pico, expert, [0.4, 0.8], **limits)
    assert [len(tasks) for tasks in seen] == [2, 3] == sorted(set(twice["tasks"]))
    assert twice["accuracy"].tolist() == plain["accuracy"].tolist()
    assert (2 * twice["scale"]).tolist() == pytest.approx(plain["scale"].tolist())
    means = transfer.mean_by_count({"twice": twice})
    assert list(means.columns) == [2, 3]
    assert means.loc["twice", 3] == pytest.approx(twice[twice["tasks"] == 3]["accuracy"].mean())


def test_the_share_of_a_redundant_vector_is_measured_block_by_block(pico):
    names, shares = geometry.redundant_share(pico.tv, 0.25 * pico.tv.deltas[0])
    norms = pico.tv.norms(by="block")
    assert names == [s.name for s in pico.tv.layout.segments("block")]
    assert shares == pytest.approx((0.25 * norms[:, 0] / norms.mean(1)).numpy(), rel=1e-5)
