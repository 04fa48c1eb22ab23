"""Anyone's model as a bench: the same as the study's own, and what is refused in one sentence."""

import copy

import pandas as pd
import pytest
import torch
from torch.nn.functional import normalize
from toys import toy_bench

import mergelib as ml
from mergelib.adaptation import Classifier, Learning, Watching, adamerging, concrete_adamerging
from mergelib.adaptation.bench import fingerprint, with_tensors
from mergelib.adaptation.learning import settled
from mergelib.models.inputs import joined
from mergelib.vectors.checkpoint import CheckpointError
from mergelib.vectors.fitting import complete

QUICK = {"steps": 4, "lr": 0.02, "batch": 5, "progress": False}


@pytest.fixture(scope="module")
def toy():
    return toy_bench()


def by_hand(toy, **more) -> ml.Bench:
    """The toy bench as a user would write it: a list of images a task, and functions."""
    (encoder, heads, suite), _ = toy
    rows = {task.name: [task.val.inputs[i : i + 1] for i in range(40)] for task in suite}

    def logits(model, task, batch):
        features = model(*batch.prepare("cpu"))
        with torch.autocast("cpu", enabled=False):
            return normalize(features.float(), dim=-1) @ heads[task].weight.T + heads[task].bias

    return ml.Bench(encoder, rows, logits, joined, **more)


def test_a_bench_written_by_hand_learns_what_the_suite_s_own_does(toy):
    bench, tv = toy
    assert torch.equal(
        adamerging(by_hand(toy), tv, **QUICK).merged, adamerging(bench, tv, **QUICK).merged
    )
    two = {**QUICK, "inner_lr": 0.01, "coefficient_steps": 3}
    ours = concrete_adamerging(by_hand(toy), tv, **two)
    theirs = concrete_adamerging(bench, tv, **two)
    assert torch.equal(ours.merged, theirs.merged) and torch.equal(ours.logits, theirs.logits)


def test_the_user_s_model_is_left_as_it_was(toy):
    bench = by_hand(toy)
    before = copy.deepcopy(bench.model.state_dict())
    adamerging(bench, toy[1], **QUICK)
    after = bench.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in bench.model.parameters())


def test_precision_is_a_word_of_the_bench(toy):
    _, tv = toy
    exact, coarse = (
        adamerging(by_hand(toy, precision=p), tv, **QUICK).history["entropy"]
        for p in ("float32", "bfloat16")
    )
    assert not exact.equals(coarse)
    assert exact.to_numpy() == pytest.approx(coarse.to_numpy(), abs=0.05)
    with pytest.raises(ValueError, match="unknown precision 'bf16'.*did you mean 'bfloat16'"):
        adamerging(by_hand(toy, precision="bf16"), tv, **QUICK)


def test_a_bench_that_can_evaluate_is_looked_at_when_asked(toy):
    seen = []

    def evaluate(model):
        seen.append(torch.cat([p.detach().flatten() for p in model.parameters()]).clone())
        return pd.DataFrame({"task": ["all"], "accuracy": [0.5]})

    bench, tv = by_hand(toy, evaluate=evaluate), toy[1]
    assert not len(adamerging(bench, tv, **QUICK).evaluations) and not seen
    found = adamerging(bench, tv, every=2, **QUICK)
    assert found.evaluations["step"].tolist() == [0, 2, 4] and len(seen) == 3
    start = ml.merging.task_arithmetic(tv, 0.3)
    parts = tv.layout.split(start)
    names = [n for n, _ in bench.model.named_parameters()]
    assert torch.allclose(seen[0], torch.cat([parts[n].flatten() for n in names]), atol=1e-6)
    assert torch.equal(seen[2], torch.cat([tv.layout.split(found.merged)[n].flatten()
                                           for n in names]))  # fmt: skip


def test_other_looks_win_over_the_bench_s_own(toy):
    def never(model):
        raise AssertionError("the bench's own evaluate was called")

    found = adamerging(
        by_hand(toy, evaluate=never),
        toy[1],
        every=4,
        evaluate=lambda weights: pd.DataFrame({"size": [len(weights)]}),
        **QUICK,
    )
    assert found.evaluations["size"].tolist() == [toy[1].layout.size] * 2


class Tied(torch.nn.Module):
    """One matrix under two names, a constant that is not saved, and a head of its own."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(4, 4, bias=False)
        self.second = torch.nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.head = torch.nn.Linear(4, 3)
        self.register_buffer("shift", torch.full((4,), 0.1), persistent=False)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x) + self.shift))))


def test_a_tensor_of_two_names_follows_the_one_that_is_given():
    torch.manual_seed(0)
    model, other = Tied(), torch.randn(4, 4)
    state = complete(model, {"first.weight": other})
    assert state["second.weight"] is other and state["head.weight"].requires_grad is False
    x = torch.randn(2, 4)
    found = with_tensors(model, state, lambda m, x: m(x), x)
    model.first.weight.data.copy_(other)
    assert torch.equal(found, model(x))
    with pytest.raises(CheckpointError, match="tensor 'frist.weight' of the weights is missing"):
        complete(model, {"frist.weight": other})


def test_heads_that_are_left_out_come_from_the_model():
    torch.manual_seed(0)
    model = Tied()
    base = {n: t for n, t in model.state_dict().items() if n != "second.weight"}
    experts = {
        task: {n: t + 0.3 * torch.randn_like(t) for n, t in base.items()} for task in ("a", "b")
    }
    tv = ml.TaskVectors.from_states(base, experts, ignore=["head.*"])
    rows = {task: list(torch.randn(20, 4)) for task in experts}
    exact = {"precision": "float32"}
    bench = ml.Bench(model, rows, lambda m, task, x: m(x), **exact)
    found = adamerging(bench, tv, init=0.5, steps=0)
    assert found.groups == ("first.weight",)
    model.first.weight.data.copy_(tv.layout.split(found.merged)["first.weight"])
    x = torch.randn(3, 4)
    classify = Classifier(ml.Bench(Tied(), rows, lambda m, task, x: m(x), **exact))
    classify.bench.model.head.load_state_dict(model.head.state_dict())
    assert torch.equal(classify(tv.layout.split(found.merged), "a", x), model(x))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": "bert"}, TypeError, "model must be a torch.nn.Module, not a str"),
        ({"streams": {}}, ValueError, "unlabelled inputs of at least one task"),
        ({"streams": {"ants": iter([])}}, TypeError, "task 'ants' are a list_iterator"),
        ({"logits": None}, TypeError, "logits must be a function, not a NoneType"),
        ({"collate": 3}, TypeError, "collate must be a function, not a int"),
    ],
)
def test_a_bench_that_cannot_be_is_refused(toy, change, error, message):
    bench = by_hand(toy)
    parts = {name: getattr(bench, name) for name in ("model", "streams", "logits", "collate")}
    with pytest.raises(error, match=message):
        ml.Bench(**{**parts, **change})


def test_what_does_not_fit_is_named_before_anything_runs(toy):
    bench, tv = by_hand(toy), toy[1]
    calls = []
    watched = ml.Bench(bench.model, bench.streams, lambda *a: calls.append(a), joined)
    only_two = {name: bench.streams[name] for name in ("ants", "bees")}
    with pytest.raises(KeyError, match="unknown task 'cats' in the streams of the bench"):
        adamerging(ml.Bench(bench.model, only_two, watched.logits, joined), tv, **QUICK)
    part = ml.TaskVectors.from_states({"w": torch.zeros(2)}, {"ants": {"w": torch.ones(2)}})
    with pytest.raises(CheckpointError, match="tensor 'w' of base is missing from the model"):
        adamerging(watched, part, **QUICK)
    with pytest.raises(TypeError, match="unknown setting 'setps' in adamerging; did you mean"):
        adamerging(watched, tv, setps=3)
    assert not calls
    empty = ml.Bench(bench.model, {**bench.streams, "ants": []}, bench.logits, joined)
    with pytest.raises(ValueError, match="the stream of task 'ants' has no inputs"):
        adamerging(empty, tv, **QUICK)


def test_logits_of_another_shape_are_refused(toy):
    bench = by_hand(toy)
    flat = ml.Bench(bench.model, bench.streams, lambda m, t, b: torch.zeros(5), joined)
    with pytest.raises(ValueError, match=r"logits of task 'ants' must be a tensor \(B, C\), not"):
        adamerging(flat, toy[1], **QUICK)


def test_settings_go_to_the_object_that_has_them():
    learning, watching = settled("f", {"lr": 0.1, "every": 3}, Learning(steps=7), Watching())
    assert learning == Learning(steps=7, lr=0.1) and watching == Watching(every=3)
    with pytest.raises(AttributeError):
        learning.lr = 0.2


def test_the_fingerprint_is_of_the_numbers_and_not_of_their_lengths(toy):
    tv = toy[1]
    turned = tv.with_deltas(tv.deltas.flip(1))
    assert torch.allclose(turned.norms(), tv.norms())
    assert fingerprint(turned) != fingerprint(tv) == fingerprint(tv.with_deltas(tv.deltas.clone()))
