"""Concrete subspaces against plain autograd, in the right order, and in its limits."""

import pytest
import torch
from toys import exact_classifier, toy_bench

import mergelib as ml
from mergelib.adaptation import (
    MaskLearner,
    MetaLearner,
    adapt,
    concrete_adamerging,
    concrete_task_arithmetic,
    deployed_mask,
    mean_entropy,
    relaxed_mask,
    unlabelled,
)
from mergelib.adaptation.streams import derived_seed
from mergelib.analysis import masks
from mergelib.workbench import Workbench

QUICK = {"steps": 5, "batch": 8, "lr": 5e-2}
TWO_STAGES = {**QUICK, "coefficient_steps": 4, "coefficient_lr": 1e-2}


@pytest.fixture(scope="module")
def setting():
    return toy_bench()


@pytest.fixture(scope="module")
def exact(setting):
    """The same in float64."""
    bench, tv = setting
    return bench, tv.to(dtype=torch.float64)


class Slow:
    """One model as autograd makes it: tensor by tensor, with a mask and coefficients."""

    def __init__(self, bench, tv, seed):
        self.tv, self.classify = tv, exact_classifier(bench)
        self.streams, self.seed = unlabelled(bench[2], "val", seed), seed

    def mask(self, x, step, phase):
        """The mask of that moment; tests/test_mask.py holds it against its definition."""
        number = derived_seed(self.seed, "mask", step, phase)
        return relaxed_mask(x, self.tv.layout, 0.5, torch.Generator().manual_seed(number))

    def loss(self, mask, coefficients, start, batch):
        tv, state = self.tv, {"positions": self.tv.layout.kept["positions"]}
        offsets = tv.layout.offsets
        for i, name in enumerate(tv.layout.names):
            place = slice(offsets[i], offsets[i + 1])
            total = sum(c[i] * d[place] for c, d in zip(coefficients, tv.deltas, strict=True))
            state[name] = (tv.base[place] + mask[place] * total).view(tv.layout.shapes[i])
        return sum(
            mean_entropy(self.classify(state, task, s.take(start, batch)))
            for task, s in self.streams.items()
        )


def test_learning_a_mask_equals_plain_autograd(exact):
    bench, tv = exact
    slow = Slow(bench, tv, seed=4)
    x = torch.full_like(tv.base, 0.2).requires_grad_()
    adam, losses = torch.optim.Adam([x], lr=0.05), []
    fixed = torch.full((3, len(tv.layout.names)), 0.3, dtype=torch.float64)
    for step in range(5):
        adam.zero_grad()
        loss = slow.loss(slow.mask(x, step, 1), fixed, 6 * step, 6)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    summed = ml.TaskVectors(("sum",), tv.base, tv.sum()[None], tv.layout)
    learner = MaskLearner(summed, exact_classifier(bench), "task", 0.3, 0.5, 0.2, seed=4)
    found = adapt(learner, slow.streams, 5, lr=0.05, batch=6)
    torch.testing.assert_close(learner.trainable["logits"].detach(), x.detach(), rtol=0, atol=1e-8)
    assert found.loss.tolist() == pytest.approx(losses, rel=1e-9)


@pytest.mark.parametrize("clamp", [None, (0.25, 0.35)])
def test_bi_level_learning_is_in_the_right_order(exact, clamp):
    """λ reset, a mask, the inner step; another mask, other batches, the outer step at that λ."""
    bench, tv = exact
    slow = Slow(bench, tv, seed=1)
    x = torch.zeros_like(tv.base).requires_grad_()
    c = torch.full((3, len(tv.layout.names)), 0.3, dtype=torch.float64).requires_grad_()
    outer, inner = torch.optim.Adam([x], lr=0.05), torch.optim.Adam([c], lr=0.1)

    def used(coefficients):
        return coefficients if clamp is None else coefficients.clamp(*clamp)

    losses = []
    for step in range(4):
        with torch.no_grad():
            c.fill_(0.3)
        inner.zero_grad()
        slow.loss(slow.mask(x.detach(), step, 0), used(c), 2 * step * 6, 6).backward()
        inner.step()
        outer.zero_grad()
        loss = slow.loss(slow.mask(x, step, 1), used(c.detach()), (2 * step + 1) * 6, 6)
        loss.backward()
        outer.step()
        losses.append(loss.item())
    learner = MetaLearner(tv, exact_classifier(bench), seed=1, inner_lr=0.1, clamp=clamp)
    found = adapt(learner, slow.streams, 4, lr=0.05, batch=6)
    assert found.loss.tolist() == pytest.approx(losses, rel=1e-8)
    torch.testing.assert_close(learner.trainable["logits"].detach(), x.detach(), rtol=0, atol=1e-7)


def test_the_gradient_of_a_mask_logit_equals_finite_differences(exact):
    bench, tv = exact
    learner = MaskLearner(tv, exact_classifier(bench), logit=0.3)
    images = {t: s.take(0, 6) for t, s in unlabelled(bench[2]).items()}
    x = learner.trainable["logits"]

    def loss(backward: bool) -> float:
        learner.begin()
        values = [mean_entropy(learner.logits(t, i)) for t, i in images.items()]
        if backward:
            sum(values).backward()
            learner.end()
        return sum(values).item()

    loss(True)
    gradient = x.grad.clone()  # its memory is used again
    for place in (0, 17, len(x) - 1):
        values = []
        for shift in (1e-4, -2e-4):
            with torch.no_grad():
                x[place] += shift
            values.append(loss(False))
        with torch.no_grad():
            x[place] += 1e-4
        expected = (values[0] - values[1]) / 2e-4
        assert gradient[place].item() == pytest.approx(expected, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("kind", ["sample", "expected", "binary"])
def test_without_a_mask_it_is_plain_task_arithmetic(setting, kind):
    bench, tv = setting
    found = concrete_task_arithmetic(bench, tv, logit=float("inf"), scale=0.4, mask=kind, **QUICK)
    torch.testing.assert_close(found.merged, ml.merging.task_arithmetic(tv, 0.4))
    assert (found.logits == float("inf")).all()


def test_the_frozen_mask_stage_is_adamerging_on_the_masked_vectors(setting):
    bench, tv = setting
    for by in ("task", "tensor", "block"):
        found = concrete_adamerging(bench, tv, by=by, **TWO_STAGES)
        masked = tv.with_deltas(tv.deltas * found.mask())
        plain = ml.adaptation.adamerging(bench, masked, by=by, steps=4, batch=8, lr=1e-2)
        torch.testing.assert_close(found.coefficients, plain.coefficients, rtol=0, atol=2e-5)
        torch.testing.assert_close(found.merged, plain.merged, rtol=0, atol=2e-5)
        second = found.history[found.history["stage"] == "coefficients"]
        entropies = second["entropy"].tolist()
        assert entropies == pytest.approx(plain.history["entropy"].tolist(), abs=1e-4)


def test_the_sum_of_the_task_vectors_is_formed_once(setting, monkeypatch):
    bench, tv = setting
    calls, whole = [], ml.TaskVectors.sum
    monkeypatch.setattr(ml.TaskVectors, "sum", lambda tv: (calls.append(1), whole(tv))[1])
    found = concrete_task_arithmetic(bench, tv, **QUICK)
    assert len(calls) == 1
    torch.testing.assert_close(found.direction, 0.3 * tv.deltas.sum(0))


def test_the_record_runs_through_both_stages(setting):
    bench, tv = setting
    found = concrete_adamerging(bench, tv, **TWO_STAGES)
    stages = found.history.groupby("stage")["step"].agg(["min", "max"])
    assert stages.loc["mask"].tolist() == [1, 5]
    assert stages.loc["coefficients"].tolist() == [6, 9]
    assert found.history["seconds"].is_monotonic_increasing
    assert len(found.loss) == 9 and found.table().shape == (3, len(tv.layout.names))
    assert found.logits.shape == tv.base.shape and (found.logits != 0).any()


def test_deployed_masks(setting):
    bench, tv = setting
    found = concrete_task_arithmetic(bench, tv, **QUICK)
    kinds = {kind: found.weights(kind) for kind in ("sample", "expected", "binary")}
    assert torch.equal(found.merged, kinds["expected"])
    for kind, weights in kinds.items():
        mask = deployed_mask(found.logits, tv.layout, 0.5, kind, seed=0)
        torch.testing.assert_close(weights, tv.base + 0.3 * mask * tv.deltas.sum(0))
    assert torch.equal(found.weights("sample", 3), found.weights("sample", 3))
    assert not torch.equal(found.weights("sample", 3), found.weights("sample", 4))


def test_the_spread_over_draws(setting):
    (encoder, heads, suite), tv = setting
    bench = Workbench(suite, encoder, heads, tv)
    found = concrete_task_arithmetic(bench, tv, **QUICK)
    table = masks.deployments(bench, found, draws=3)
    assert table.groupby(["kind", "draw"], sort=False).ngroups == 5 and len(table) == 15
    third = bench.evaluate(found.weights("sample", 2))["accuracy"].tolist()
    chosen = table[(table["kind"] == "sample") & (table["draw"] == 2)]
    assert chosen["accuracy"].tolist() == third
    spread = masks.deployment_spread(table)
    means = table[table["kind"] == "sample"].groupby("draw")["accuracy"].mean()
    assert spread.loc["sample"].tolist() == pytest.approx(
        [means.mean(), means.std(), means.min(), means.max()]
    )
    assert spread.loc["binary", "min"] == spread.loc["binary", "max"]


class Killed(Exception):
    pass


@pytest.mark.parametrize("learn", [concrete_task_arithmetic, concrete_adamerging])
def test_one_seed_one_result_also_after_a_kill(setting, learn, tmp_path, monkeypatch):
    bench, tv = setting
    numbers = {"steps": 6, "batch": 4, "lr": 5e-2}
    if learn is concrete_adamerging:
        numbers["coefficient_steps"] = 6
    first, other = (learn(bench, tv, seed=s, **numbers) for s in (1, 2))
    assert not torch.equal(first.logits, other.logits)

    numbers |= {"checkpoint": tmp_path / "run.pt", "save_every": 2}
    step, steps = torch.optim.Adam.step, []
    # The meta learner steps twice a step: it dies in its second stage, the other in its only one.
    last = 16 if learn is concrete_adamerging else 5

    def dying(self, *arguments, **options):
        steps.append(1)
        if len(steps) == last:
            raise Killed
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.Adam, "step", dying)
    with pytest.raises(Killed):
        learn(bench, tv, seed=1, **numbers)
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    resumed = learn(bench, tv, seed=1, **numbers)
    assert torch.equal(resumed.logits, first.logits)
    assert torch.equal(resumed.merged, first.merged)
    assert torch.equal(resumed.coefficients, first.coefficients)
    assert resumed.loss.tolist() == first.loss.tolist()


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"mask": "mean"}, "mask must be one of sample, expected, binary, not 'mean'"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"logit": float("nan")}, "logit must be a number, not NaN"),
        ({"scale": float("inf")}, "init must be finite, not inf"),
    ],
)
def test_what_makes_no_sense_is_refused(setting, numbers, message):
    bench, tv = setting
    with pytest.raises(ValueError, match=message):
        concrete_task_arithmetic(bench, tv, **QUICK, **numbers)
