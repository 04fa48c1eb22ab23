"""What chapters 5 and 6 measure, against hand-made cases and slow versions."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr
from torch.func import functional_call
from toys import prepared, random_state, toy_bench

from mergelib import Layout, merging
from mergelib.adaptation import AdaMergingLearner, Adapted, adamerging
from mergelib.analysis import adaptation, awd
from mergelib.analysis.result import Result
from mergelib.merging.awd.report import Disentangled
from mergelib.workbench import Workbench


@pytest.fixture(scope="module")
def bench():
    parts, tv = toy_bench()
    encoder, heads, suite = parts
    return Workbench(suite, encoder, heads, tv)


@pytest.fixture(scope="module")
def layout():
    return Layout.from_state(random_state(0))


def test_entropy_and_loss_are_those_of_the_probabilities(bench):
    vector, state = bench.expert("bees"), bench.tv.layout.unflatten(bench.expert("bees"))
    table = adaptation.uncertainty(bench, vector, limit=9)
    assert table["task"].value_counts().to_dict() == dict.fromkeys(bench.suite.names, 9)
    for task in bench.suite.names:
        data = bench.suite[task].test.take(9)
        with torch.no_grad():
            x = prepared(data.inputs.values)
            features = functional_call(bench.encoder, state, (x,))
        p = torch.softmax(bench.heads[task](features).double(), dim=1)
        rows = table[table["task"] == task]
        assert rows["entropy"].to_numpy() == pytest.approx(-(p * p.log()).sum(1).numpy(), rel=1e-5)
        expected = -p[torch.arange(9), data.labels].log()
        assert rows["loss"].to_numpy() == pytest.approx(expected.numpy(), rel=1e-5)
        assert rows["right"].tolist() == (p.argmax(1) == data.labels).tolist()
    with pytest.raises(ValueError, match="limit must be at least 1"):
        adaptation.uncertainty(bench, vector, limit=0)


def test_scales_have_the_means_of_their_images(bench):
    def merge(scale):
        return merging.task_arithmetic(bench.tv, scale)

    table = adaptation.uncertainty_by_scale(bench, merge, [0.0, 0.7], tasks=["ants"], limit=12)
    assert table["scale"].tolist() == [0.0, 0.7]
    images = adaptation.uncertainty(bench, merge(0.7), tasks=["ants"], limit=12)
    for column, source in (("entropy", "entropy"), ("loss", "loss"), ("accuracy", "right")):
        assert table[column][1] == pytest.approx(images[source].mean())


def test_the_best_scale_is_that_of_the_least_mean():
    rows = [(0.1, "a", 1.0, 0.2), (0.1, "b", 1.0, 0.4), (0.2, "a", 0.1, 0.3), (0.2, "b", 1.5, 0.4)]
    table = pd.DataFrame(rows, columns=["scale", "task", "entropy", "loss"])
    assert adaptation.least_by(table, "entropy") == 0.2
    assert adaptation.least_by(table, "loss") == 0.1
    assert adaptation.most_by(table, "loss") == 0.2


def test_rank_correlations_are_spearmans():
    generator = np.random.default_rng(0)
    entropy, noise = generator.random(60).round(1), generator.random(60)
    table = pd.DataFrame({"task": ["a"] * 30 + ["b"] * 30, "entropy": entropy})
    table["loss"] = np.exp(entropy) + noise
    found = adaptation.rank_correlations(table)
    for task, rows in table.groupby("task"):
        assert found[task] == pytest.approx(spearmanr(rows["entropy"], rows["loss"]).statistic)
    assert np.isnan(adaptation.rank_correlations(table.assign(loss=1.0))["a"])


def test_groups_of_images_hold_the_surest_first():
    table = pd.DataFrame(
        {"entropy": [3.0, 1, 2, 4, 5], "loss": [30.0, 10, 20, 40, 50], "right": [0, 1, 1, 0, 0]}
    )
    found = adaptation.binned(table, 2)
    assert found["n"].tolist() == [3, 2]
    assert found["entropy"].tolist() == [2.0, 4.5]
    assert found["loss"].tolist() == [20.0, 45.0]
    assert found["accuracy"].tolist() == pytest.approx([2 / 3, 0])
    with pytest.raises(ValueError, match="5 inputs cannot be divided into 6"):
        adaptation.binned(table, 6)


def test_disentangled_vectors_are_weighted_ones(bench):
    apart = merging.awd(bench.tv, granularity="tensor")
    weights = awd.awd_weights(apart)
    layout = bench.tv.layout
    for s, (start, stop) in enumerate(zip(layout.offsets, layout.offsets[1:], strict=False)):
        expected = weights[:, s] @ bench.tv.deltas[:, start:stop].double()
        assert apart.sum()[start:stop].numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert weights.std() > 0.01


def test_a_shared_vector_outside_the_span_has_no_weights(bench):
    apart = merging.awd(bench.tv, granularity="block")
    report = replace(apart.report, outside=0.1 * apart.norms()[: len(apart.report.groups)])
    away = Disentangled(bench.tv, apart.deltas, apart.redundant, report)
    with pytest.raises(ValueError, match="outside the span"):
        awd.awd_weights(away)


def test_coefficients_are_paired_by_task_and_tensor(bench):
    names = bench.tv.layout.names
    first = torch.arange(3.0 * len(names)).view(3, -1)
    pairs = awd.coefficient_pairs({"x": first, "y": -first}, bench.tv)
    row = pairs[(pairs["task"] == "cats") & (pairs["tensor"] == names[1])].iloc[0]
    assert row["x"] == 2 * len(names) + 1 == -row["y"] and len(pairs) == 3 * len(names)
    with pytest.raises(ValueError, match=r"y must be of shape \(3, .*not \(3, 1\)"):
        awd.coefficient_pairs({"x": first, "y": first[:, :1]}, bench.tv)


def test_the_best_look_chooses_the_weights_and_not_the_run(bench):
    options = {"init": 0.2, "batch": 8, "lr": 1e-2}
    seen = []

    def look(vector):
        seen.append(vector.clone())
        accuracy = (0.1, 0.5, 0.5, 0.2)[len(seen) - 1]
        return pd.DataFrame({"task": ["ants"], "accuracy": [accuracy]})

    learn = partial(adamerging, bench, bench.tv, steps=6, **options)
    found = adaptation.stopped(learn, look, every=2)
    assert found.step == 2 and found.curve["step"].tolist() == [0, 2, 4, 6]
    assert torch.equal(found.weights, adamerging(bench, bench.tv, steps=2, **options).merged)
    assert torch.equal(found.run.merged, seen[-1])
    assert not torch.equal(found.run.merged, found.weights)
    looks = iter([[0.1, 0.2, 0.7], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.1]])
    tied = adaptation.stopped(
        learn, lambda _: pd.DataFrame({"task": list("abc"), "accuracy": next(looks)}), every=2
    )
    assert tied.step == 0  # these means differ in their last bit only
    assert torch.equal(tied.weights, adamerging(bench, bench.tv, steps=0, **options).merged)
    with pytest.raises(ValueError, match="every must be at least 1"):
        adaptation.stopped(learn, look, every=0)


def two_stages() -> Adapted:
    history = pd.DataFrame(
        {
            "step": [1, 1, 2, 2, 3, 3],
            "task": ["a", "b"] * 3,
            "entropy": [1.0, 2.0, 0.8, 1.5, 0.6, 1.0],
            "classes": [5.0, 6.0, 4.0, 5.0, 3.0, 4.0],
            "seconds": [1.0, 1.0, 2.0, 2.0, 2.5, 2.5],
            "stage": ["mask"] * 4 + ["coefficients"] * 2,
        }
    )
    evaluations = pd.DataFrame(
        {
            "step": [0, 0, 2, 2, 2, 2, 3, 3],
            "task": ["a", "b"] * 4,
            "accuracy": [0.5, 0.7, 0.6, 0.8, 0.4, 0.8, 0.9, 0.9],
            "stage": ["mask"] * 4 + ["coefficients"] * 4,
        }
    )
    return Adapted(history, evaluations)


def test_passes_and_seconds_run_through_the_stages():
    curve = adaptation.learning_curve(two_stages(), {"mask": 2, "coefficients": 1})
    assert curve["stage"].tolist() == ["mask", "mask", "coefficients", "coefficients"]
    assert curve["passes"].tolist() == [0, 4, 4, 5]
    assert curve["seconds"].tolist() == [0.0, 2.0, 2.0, 2.5]
    assert curve["accuracy"].tolist() == pytest.approx([0.6, 0.7, 0.6, 0.9])
    assert adaptation.accuracy_at(curve, 5) == pytest.approx(0.9)
    assert adaptation.accuracy_at(curve, 3) == pytest.approx(0.6)
    with pytest.raises(ValueError, match="no evaluation within -1"):
        adaptation.accuracy_at(curve, -1)


def test_a_run_without_evaluations_has_no_curve():
    with pytest.raises(ValueError, match="was not evaluated"):
        adaptation.learning_curve(Adapted(two_stages().history, pd.DataFrame()))


def test_entropies_before_and_after_are_means_of_the_ends():
    found = adaptation.entropy_change(two_stages(), window=2).set_index("task")
    assert found.loc["a", "entropy_before"] == pytest.approx(0.9)
    assert found.loc["b", "entropy_after"] == pytest.approx(1.25)
    assert found.loc["b", "classes_before"] == pytest.approx(5.5)
    assert found.loc["a", "classes_after"] == pytest.approx(3.5)


def test_the_path_begins_at_the_start_and_ends_at_the_result(bench):
    found = adamerging(bench, bench.tv, init=0.2, steps=4, batch=8, lr=1e-2)
    assert found.path.shape == (5, *found.coefficients.shape)
    assert (found.path[0] == 0.2).all()
    assert torch.equal(found.path[-1], found.coefficients)
    shorter = adamerging(bench, bench.tv, init=0.2, steps=2, batch=8, lr=1e-2)
    assert torch.equal(found.path[:3], shorter.path)


def test_the_path_goes_on_after_an_interruption(bench, tmp_path):
    options = {"init": 0.2, "batch": 8, "lr": 1e-2, "clamp": (0, 0.21)}
    whole = adamerging(bench, bench.tv, steps=5, **options)
    adamerging(bench, bench.tv, steps=2, checkpoint=tmp_path / "run", **options)
    resumed = adamerging(bench, bench.tv, steps=5, checkpoint=tmp_path / "run", **options)
    assert torch.equal(resumed.path, whole.path)
    assert (whole.path <= 0.21).all() and (whole.path == 0.21).any()


def test_a_learner_that_has_not_begun_has_a_path_of_one_point(bench):
    learner = AdaMergingLearner(bench.tv, lambda *_: None, "task", init=0.4)
    assert learner.path().tolist() == [[[pytest.approx(0.4)]] * 3]


def test_changes_are_after_minus_before():
    entropies = pd.DataFrame(
        {"task": ["b", "a"], "entropy_before": [2.0, 1], "entropy_after": [1, 1]}
    )
    before, after = (
        Result({task: torch.arange(10) < right for task, right in counts.items()})
        for counts in ({"a": 5, "b": 7}, {"a": 6, "b": 4})
    )
    found = adaptation.changes(entropies, before, after)
    assert found["task"].tolist() == ["b", "a"]
    assert found["entropy"].tolist() == [-1, 0]
    assert found["accuracy"].tolist() == pytest.approx([-0.3, 0.1])
