"""AdaMerging against plain autograd, and what it must not see or change."""

import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
import torch
from toys import exact_classifier, toy_bench

import mergelib as ml
from mergelib.adaptation import (
    AdaMergingLearner,
    Classifier,
    SuiteBench,
    adamerging,
    adapt,
    mean_entropy,
    unlabelled,
)
from mergelib.evaluation import encode
from mergelib.suites.suite import Suite

QUICK = {"steps": 6, "batch": 8, "lr": 1e-2}


@pytest.fixture(scope="module")
def setting():
    return toy_bench()


def tensors(layout):
    return list(zip(layout.names, layout.offsets, layout.offsets[1:], layout.shapes, strict=False))


def slow_groups(layout, by):
    """For each tensor the number of its coefficient."""
    if by == "task":
        return [0] * len(layout.names)
    if by == "tensor":
        return list(range(len(layout.names)))
    blocks = {"blocks.0": 1, "blocks.1": 2}
    return [next((i for b, i in blocks.items() if n.startswith(b)), 0) for n in layout.names]


def slow_adamerging(bench, tv, by, clamp, steps, lr, batch, seed):
    """A copy of every model a step, by autograd through every tensor, one loss for all tasks."""
    groups, classify = slow_groups(tv.layout, by), exact_classifier(bench)
    c = torch.full((len(tv), max(groups) + 1), 0.3, dtype=torch.float64, requires_grad=True)
    adam, losses = torch.optim.Adam([c], lr=lr), []
    streams = unlabelled(bench[2], "val", seed)
    for step in range(steps):
        used = c if clamp is None else c.clamp(*clamp)
        state = {
            name: sum((used[k, g] * tv.deltas[k, a:b] for k in range(len(tv))), tv.base[a:b]).view(
                shape
            )
            for g, (name, a, b, shape) in zip(groups, tensors(tv.layout), strict=True)
        }
        state["positions"] = tv.layout.kept["positions"]
        taken = {task: s.take(step * batch, batch) for task, s in streams.items()}
        loss = sum(mean_entropy(classify(state, task, x)) for task, x in taken.items())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return c.detach() if clamp is None else c.detach().clamp(*clamp), losses


@pytest.mark.parametrize(
    ("by", "clamp", "lr"),
    [
        ("task", None, 1e-2),
        ("tensor", None, 1e-2),
        ("block", None, 1e-2),
        ("tensor", (0.25, 0.32), 3e-2),  # some reach their bounds
    ],
)
def test_the_coefficients_equal_those_of_plain_autograd(setting, by, clamp, lr):
    bench, tv = setting[0], setting[1].to(dtype=torch.float64)
    expected, losses = slow_adamerging(bench, tv, by, clamp, 8, lr, 5, seed=2)
    learner = AdaMergingLearner(tv, exact_classifier(bench), by, clamp=clamp)
    found = adapt(learner, unlabelled(bench[2], "val", 2), 8, lr=lr, batch=5)
    torch.testing.assert_close(learner.coefficients().detach(), expected, rtol=1e-8, atol=1e-10)
    assert found.loss.tolist() == pytest.approx(losses, rel=1e-9)
    if clamp:
        assert (expected == clamp[0]).any() or (expected == clamp[1]).any()


def test_the_gradient_of_a_coefficient_equals_finite_differences(setting):
    bench, tv = setting[0], setting[1].to(dtype=torch.float64)
    learner = AdaMergingLearner(tv, exact_classifier(bench))
    images = {t: s.take(0, 6) for t, s in unlabelled(bench[2]).items()}
    c = learner.trainable["coefficients"]

    def loss(backward: bool) -> float:
        learner.begin()
        total = 0.0
        for task, x in images.items():
            value = mean_entropy(learner.logits(task, x))
            if backward:
                value.backward()
            total += value.item()
        if backward:
            learner.end()
        return total

    loss(True)
    for place in [(0, 0), (1, 3), (2, c.shape[1] - 1)]:
        values = []
        for shift in (1e-6, -2e-6):
            with torch.no_grad():
                c[place] += shift
            values.append(loss(False))
        with torch.no_grad():
            c[place] += 1e-6
        assert c.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_weight_gradients_stay_in_one_vector(setting):
    """The tensors' gradients are views of it after the passes of several tasks, not replaced."""
    bench, tv = setting
    learner = AdaMergingLearner(tv, Classifier(SuiteBench(*bench)))
    learner.begin()
    room = learner.weights.gradient
    for task, stream in unlabelled(bench[2]).items():
        mean_entropy(learner.logits(task, stream.take(0, 4))).backward()
    state = learner.weights.state
    inside = range(room.data_ptr(), room.data_ptr() + 4 * room.numel())
    assert all(state[n].grad.data_ptr() in inside for n in tv.layout.names)
    flat = torch.cat([state[n].grad.flatten() for n in tv.layout.names])
    assert torch.equal(flat, room) and room.abs().sum() > 0


def test_the_result(setting):
    bench, tv = setting
    found = adamerging(bench, tv, steps=6, batch=40, lr=1e-2)  # all images in each step
    assert found.tasks == ("ants", "bees", "cats") and found.groups == tv.layout.names
    assert found.coefficients.shape == (3, len(tv.layout.names))
    table = found.table()
    assert table.loc["bees", "patch.bias"] == pytest.approx(
        found.coefficients[1, tv.layout.names.index("patch.bias")].item()
    )
    expected = tv.base.clone()
    for i, (_, a, b, _) in enumerate(tensors(tv.layout)):
        expected[a:b] += found.coefficients[:, i] @ tv.deltas[:, a:b]
    torch.testing.assert_close(found.merged, expected)
    assert found.loss.iloc[-1] < found.loss.iloc[0] and len(found.loss) == 6


def test_no_step_gives_task_arithmetic(setting):
    bench, tv = setting
    for by in ("task", "tensor", "block"):
        found = adamerging(bench, tv, by=by, init=0.4, steps=0)
        torch.testing.assert_close(found.merged, ml.merging.task_arithmetic(tv, 0.4))


def test_labels_make_no_difference_and_are_not_even_read(setting, monkeypatch):
    (encoder, heads, suite), tv = setting
    expected = adamerging((encoder, heads, suite), tv, **QUICK)

    class Blind:
        def __init__(self, split):
            self.inputs = split.inputs

        def __getattr__(self, name):
            raise AssertionError(f"{name!r} was asked of a split during adaptation")

    for task in suite:
        copy = replace(task)
        for split in ("train", "val", "test"):
            object.__setattr__(copy, split, Blind(task.split(split)))
        suite = Suite(suite.name, suite.size, {**suite.tasks, task.name: copy})
    found = adamerging((encoder, heads, suite), tv, **QUICK)
    assert torch.equal(found.merged, expected.merged)


def test_inductive_and_transductive_are_one_argument(setting):
    """What is adapted on is the split's images and nothing else."""
    (encoder, heads, suite), tv = setting
    seen = {}
    for split in ("val", "test"):
        seen[split] = adamerging((encoder, heads, suite), tv, split=split, **QUICK).merged
        one = {
            t.name: replace(t, **dict.fromkeys(("train", "val", "test"), t.split(split)))
            for t in suite
        }
        only = adamerging((encoder, heads, Suite("toy", 4, one)), tv, split="val", **QUICK)
        assert torch.equal(only.merged, seen[split])
    assert not torch.equal(seen["val"], seen["test"])


def test_one_seed_one_result(setting):
    bench, tv = setting
    first, again, other = (adamerging(bench, tv, seed=s, **QUICK) for s in (1, 1, 2))
    assert torch.equal(first.coefficients, again.coefficients)
    assert torch.equal(first.merged, again.merged)
    assert first.loss.tolist() == again.loss.tolist() != other.loss.tolist()


def test_nothing_that_is_given_is_changed(setting):
    (encoder, heads, suite), tv = setting
    before = [t.clone() for t in (tv.base, tv.deltas, *encoder.state_dict().values())]
    adamerging((encoder, heads, suite), tv, **QUICK)
    after = [tv.base, tv.deltas, *encoder.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in encoder.parameters())


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_to_the_same_result(setting, tmp_path):
    bench, tv = setting
    options = {**QUICK, "steps": 12, "every": 4}

    def measure(weights):
        return pd.DataFrame({"norm": [float(weights.norm())]})

    expected = adamerging(bench, tv, evaluate=measure, **options)

    def dying(weights, calls=[]):  # noqa: B006
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return measure(weights)

    options |= {"checkpoint": tmp_path / "run.pt", "save_every": 3}
    with pytest.raises(Killed):
        adamerging(bench, tv, evaluate=dying, **options)
    found = adamerging(bench, tv, evaluate=measure, **options)
    assert torch.equal(found.merged, expected.merged)
    assert found.loss.tolist() == expected.loss.tolist()
    assert found.evaluations["step"].tolist() == [0, 4, 8, 12]
    assert found.evaluations["norm"].tolist() == expected.evaluations["norm"].tolist()
    with pytest.raises(ValueError, match="is of a run with by='tensor', not 'task'"):
        adamerging(bench, tv, by="task", **options)
    with pytest.raises(ValueError, match="is of a run with vectors="):
        adamerging(bench, 0.5 * tv, **options)


def test_plus_plus_is_the_same_on_the_vectors_that_ties_adds_up(setting):
    bench, tv = setting
    plus = adamerging(bench, tv, density=0.3, **QUICK)
    plain = adamerging(bench, ml.merging.ties_split(tv, 0.3), **QUICK)
    assert torch.equal(plus.merged, plain.merged)
    assert not torch.equal(plus.merged, adamerging(bench, tv, **QUICK).merged)


def test_any_task_vectors_will_do(setting):
    bench, tv = setting
    found = adamerging(bench, 0.5 * tv[["cats", "ants"]], by="task", **QUICK)
    assert found.tasks == ("cats", "ants") and found.history["task"].nunique() == 2
    with pytest.raises(KeyError, match="unknown task 'dogs' in suite 'toy'"):
        adamerging(bench, ml.TaskVectors(["dogs"], tv.base, tv.deltas[:1], tv.layout))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"by": "layer"}, "by must be one of task, tensor, block, not 'layer'"),
        ({"clamp": (1, 0)}, r"clamp must be \(low, high\) with low < high, not \(1, 0\)"),
        ({"init": float("nan")}, "init must be finite, not nan"),
        ({"split": "dev"}, "unknown split 'dev'"),
    ],
)
def test_what_makes_no_sense_is_refused(setting, numbers, message):
    bench, tv = setting
    with pytest.raises(ValueError, match=message):
        adamerging(bench, tv, **numbers)


def test_a_missing_head_is_named(setting):
    (encoder, heads, suite), tv = setting
    with pytest.raises(KeyError, match="unknown head 'bees' in suite 'toy'"):
        adamerging((encoder, {k: h for k, h in heads.items() if k != "bees"}, suite), tv)


def test_the_logits_are_those_that_are_evaluated(setting):
    (encoder, heads, suite), tv = setting
    classify = Classifier(SuiteBench(encoder, heads, suite))
    images, state = suite["cats"].test.inputs.values, tv.layout.unflatten(tv.base)
    assert torch.equal(
        classify(state, "cats", images), heads["cats"](encode(encoder, images, state))
    )


def test_the_package_brings_adaptation_when_it_is_asked_for():
    code = (
        "import sys, mergelib as ml; a = 'mergelib.adaptation' in sys.modules; "
        "ml.adaptation.adamerging; print(a, 'open_clip' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]
    with pytest.raises(AttributeError, match="module 'mergelib' has no attribute 'adaption'"):
        ml.adaption  # noqa: B018
