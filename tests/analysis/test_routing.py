"""What chapter 7 measures of a mixture, against images taken one at a time."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from toys import NAMES, vit_bench

import mergelib as ml
from mergelib.analysis import adaptation, comparison, mixtures, planes
from mergelib.analysis.planes import LossPlane
from mergelib.evaluation import evaluate


@pytest.fixture(scope="module")
def bench():
    return vit_bench(images=10)


@pytest.fixture(scope="module")
def model(bench):
    """Routers that differ much from image to image."""
    found = ml.mixtures.wemoe(bench, bench.tv, noise=2.0, steps=0, standardise=False)
    return found.model


def test_means_and_first_choices_are_those_of_the_images(bench, model):
    found = mixtures.routing(bench, model, limit=7)
    assert found.tasks == NAMES and found.parts == ("block 0", "block 1")
    for i, task in enumerate(NAMES):
        rows = torch.cat(
            [model.coefficients(x[None]) for x in bench.suite[task].test.inputs.values[:7]]
        )
        for s, part in enumerate(found.parts):
            mean = rows[:, s].mean(0).tolist()
            assert found.by_part()[part].loc[task].tolist() == pytest.approx(mean, abs=2e-2)
            shares = [(rows[:, s].argmax(1) == k).double().mean().item() for k in range(3)]
            assert found.first[i, s].tolist() == pytest.approx(shares)
            assert found.own_first().loc[task, part] == pytest.approx(shares[i])
        both = (found.first[i, 0] + found.first[i, 1]) / 2
        assert found.first_choice().loc[task].tolist() == pytest.approx(both.tolist())
        assert sum(both) == pytest.approx(1)
    task, other, share = found.most_mistaken()
    shares = found.first_choice()
    assert share == shares.loc[task, other] and task != other
    assert all(shares.iloc[i, k] <= share for i in range(3) for k in range(3) if i != k)


def test_a_batch_of_one_is_routed_as_an_image_by_itself(bench, model):
    found = mixtures.routings(bench, model, limit=8, batch=1)
    own = evaluate(model, bench.heads, bench.suite, limit=8)
    for table in found.values():
        pd.testing.assert_frame_equal(table, own.drop(columns="normalised"))


def test_batches_are_routed_by_their_mean(bench, model):
    found = mixtures.routings(bench, model, limit=6, batch=6, seed=3)
    by_batch = ml.mixtures.wemoe(
        bench, bench.tv, noise=2.0, steps=0, standardise=False, routing="batch"
    ).model
    pure = evaluate(by_batch, bench.heads, bench.suite, limit=6)
    assert found["batches of one task"]["correct"].tolist() == pure["correct"].tolist()
    assert model.plan.routing == "sample"
    # In one batch of everything all images have one λ, whatever their order is.
    whole = mixtures.routings(bench, model, limit=6, batch=18, seed=0)["mixed batches"]
    other = mixtures.routings(bench, model, limit=6, batch=18, seed=1)["mixed batches"]
    assert whole["correct"].tolist() == other["correct"].tolist()


def test_a_mixture_is_stopped_where_it_was_best(bench):
    seen = []

    def look(model):
        seen.append(model.coefficients(bench.suite["ants"].val.inputs.values[:2]).clone())
        return pd.DataFrame({"accuracy": [[0.5], [0.9], [0.7]][len(seen) - 1]})

    learn = partial(ml.mixtures.wemoe, bench, bench.tv, steps=4, lr=0.05, batch=4)
    found = adaptation.stopped(learn, look, every=2)
    assert found.step == 2 and len(seen) == 3
    kept = found.weights.coefficients(bench.suite["ants"].val.inputs.values[:2])
    assert torch.equal(kept, seen[1]) and not torch.equal(kept, seen[2])


def test_batches_of_all_tasks_are_not_routed_by_batch(bench):
    with pytest.raises(ValueError, match="cannot be routed batch by batch"):
        ml.mixtures.wemoe(bench, bench.tv, steps=1, routing="batch", together=True)


def test_a_mixture_learns_the_same_from_all_tasks_at_once(bench):
    learn = partial(ml.mixtures.wemoe, bench, bench.tv, steps=3, lr=0.01, batch=4)
    apart, joint = learn().model.routers, learn(together=True).model.routers
    for one, other in zip(apart, joint, strict=True):
        assert torch.allclose(one.weight, other.weight, atol=2e-3)
        assert one.weight.abs().max() > 0.01


def test_an_image_names_the_task_of_its_largest_mean_coefficient(bench, model):
    found = mixtures.named_tasks(bench, model, limit=6).set_index("task")["named"]
    for i, task in enumerate(NAMES):
        rows = [
            model.coefficients(x[None])[0].mean(0) for x in bench.suite[task].test.inputs.values[:6]
        ]
        right = sum(int(row.argmax()) == i for row in rows)
        assert found[task] == pytest.approx(right / 6)
    twin = ml.mixtures.twin_merging(bench, bench.tv, epochs=0, progress=False).model
    with torch.no_grad():
        twin.router.layers[-1].weight.zero_()
        twin.router.layers[-1].bias.copy_(torch.tensor([0.0, 2.0, 1.0]))
    assert mixtures.named_tasks(bench, twin)["named"].tolist() == [0, 1, 0]


def test_the_price_of_one_point_is_what_each_task_loses_there():
    loss = np.array([[[0.0, 1.0], [2.0, 3.0]], [[5.0, 1.5], [1.0, 0.5]]])
    plane = LossPlane(("a", "b"), np.array([0.0, 0.5]), loss)
    found = planes.plane_minima(plane)
    # Means: 2.5, 1.25 / 1.5, 1.75.
    assert found.own == ((0.0, 0.0), (0.5, 0.5))
    assert found.common == (0.0, 0.5)
    assert found.regret == (1.0, 1.0)


def test_the_best_run_is_that_of_the_highest_look():
    def run(*means):
        return adaptation.Stopped(None, pd.DataFrame({"accuracy": means}), 0, None)

    runs = {"a": run(0.5, 0.7), "b": run(0.5, 0.9, 0.6), "c": run(0.9)}
    assert adaptation.best_of(runs) == "b"


def test_mixtures_and_weights_are_measured_on_the_same_images(bench, model):
    merged = ml.merging.task_arithmetic(bench.tv, 0.3)
    found = comparison.compare(bench, {"mixture": model, "merged": merged}, test_limit=6)
    mixture = evaluate(model, bench.heads, bench.suite, limit=6)
    assert found["mixture"].table["correct"].tolist() == mixture["correct"].tolist()
    table = bench.evaluate(merged, limit=6)
    assert found["merged"].table["correct"].tolist() == table["correct"].tolist()
    alone = comparison.measured(bench, model, limit=6)
    assert alone.table["correct"].tolist() == mixture["correct"].tolist()
    shares = comparison.summary({"wemoe": alone}, dict.fromkeys(NAMES, 0.5))["normalised"]
    assert shares["wemoe"] == pytest.approx(2 * mixture["accuracy"].mean())
