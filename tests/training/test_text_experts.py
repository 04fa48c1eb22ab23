"""A suite of texts from base to workbench: zero-shot heads, experts, task vectors, benches."""

from dataclasses import replace

import pytest
import tiny_text
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

import mergelib as ml
from mergelib.adaptation import adamerging, unlabelled
from mergelib.evaluation import encode, predict, predict_tasks
from mergelib.mixtures import wemoe
from mergelib.models.inputs import Tokens, joined
from mergelib.suites import load_suite, spec
from mergelib.suites.recipe import FineTuning
from mergelib.training import experts
from mergelib.training.finetune import set_rate
from mergelib.workbench import open_workbench

RUN = {"device": "cpu", "precision": "float32"}
QUICK = {"steps": 2, "lr": 0.05, "batch": 6, "progress": False}


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def bench(patch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    patch.setenv("MERGELIB_CACHE", str(folder / "cache"))
    patch.syspath_prepend(folder / "site")
    base = tiny_text.lay_out(folder / "site")
    patch.setattr(tiny_text, "SPEC", replace(tiny_text.SPEC, base=base))
    patch.setattr(spec, "FILES", ("tiny_text",))
    return open_workbench("tiny-text", **RUN)


def test_texts_of_all_tasks_together_are_answered_as_alone(bench):
    inputs = {task.name: task.test.inputs for task in bench.suite}
    found = predict_tasks(bench.encoder, bench.heads, inputs, precision="float32")
    for task in bench.suite:
        alone = predict(bench.encoder, bench.heads[task.name], task.test.inputs, batch=7,
                        precision="float32")  # fmt: skip
        assert torch.equal(found[task.name], alone)
        f = encode(bench.encoder, task.test.inputs, precision="float32")
        g = encode(bench.encoder, task.test.inputs, batch=5, precision="float32")
        assert torch.allclose(f, g, atol=1e-5)


def test_chunks_hold_each_text_once_and_few_tokens_too_many():
    lengths = torch.tensor([3, 9, 2, 2, 5, 9, 4, 2])
    mask = torch.arange(9) < lengths[:, None]
    tokens = Tokens(torch.arange(72).view(8, 9), mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mergelib.models.inputs.CPU_BATCH", 2)
        parts = list(tokens.chunks(torch.device("cpu")))
    assert sorted(torch.cat([place for place, _ in parts]).tolist()) == list(range(8))
    for place, part in parts:
        assert torch.equal(part.ids, tokens.ids[place])
        assert len(place) * int(lengths[place].max()) <= 2 * 9
    assert [len(place) for place, _ in parts] == [4, 2, 2]


def test_a_sheet_shows_texts_with_their_classes(bench):
    from mergelib import figures

    sheet = figures.contact_sheet(bench.suite)
    assert len(sheet.axes) == len(bench.suite)
    for axis, task in zip(sheet.axes, bench.suite, strict=True):
        assert axis.get_title(loc="left") == f"{task.title} (drawn, 2 classes)"
        drawn = [text.get_text() for text in axis.texts]
        read, classes = drawn[::2], drawn[1::2]
        known = dict(
            zip(tiny_text.SPEC.base.texts(task.test.inputs), task.test.labels, strict=True)
        )
        assert [task.classes[known[text]] for text in read] == classes
        assert len(read) == 3 and set(classes) == set(task.classes)


def test_a_cached_suite_of_texts_is_the_built_one(bench):
    for built, cached in zip(tiny_text.build(), load_suite("tiny-text"), strict=True):
        for split in ("train", "val", "test"):
            one, other = built.split(split), cached.split(split)
            assert torch.equal(one.inputs.ids, other.inputs.ids)
            assert torch.equal(one.inputs.mask, other.inputs.mask)
            assert torch.equal(one.labels, other.labels)


def test_experts_learn_their_tasks_and_leave_the_tables_out(bench):
    frozen = tiny_text.SPEC.base.frozen()
    expert = load_file(experts.expert_file(bench.suite, "kinds", **RUN))
    assert not set(frozen) & set(expert) and len(expert) == 34
    assert not set(frozen) & set(bench.tv.layout.names)
    start = tiny_text.SPEC.base.file()
    assert all(not torch.equal(t, load_file(start)[name]) for name, t in expert.items())
    for task in bench.suite.names:
        before = bench.evaluate(tasks=[task])["accuracy"][0]
        after = bench.evaluate(bench.expert(task), tasks=[task])["accuracy"][0]
        assert after >= 0.7 and after > before, (task, before, after)


def test_a_killed_expert_goes_on(bench, tmp_path):
    task, head = bench.suite["order"], bench.heads["order"]
    recipe = experts.recipe_of(bench.suite, **RUN)
    frozen = tiny_text.SPEC.base.frozen()
    checkpoint = tmp_path / "order.partial"

    def die(record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experts.fine_tune(bench.encoder, head, task, recipe, checkpoint, die, frozen)
    found, _ = experts.fine_tune(bench.encoder, head, task, recipe, checkpoint, None, frozen)
    whole = load_file(experts.expert_file(bench.suite, "order", **RUN))
    assert all(torch.equal(tensor, found[name]) for name, tensor in whole.items())


def test_an_epoch_has_every_text_once_in_batches_of_similar_length(bench):
    inputs = bench.suite["kinds"].train.inputs
    many = joined([inputs] * 5)
    batches = many.shuffled(8, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(list(batches)).tolist()) == list(range(400))
    lengths = many.mask.sum(1)
    spans = [int(lengths[b].max() - lengths[b].min()) for b in batches]
    assert sum(spans) / len(spans) < 2
    order = [int(lengths[b].max()) for b in batches]
    assert order != sorted(order)


def by_hand(bench) -> ml.Bench:
    """The same as a user would write it, with the order that the streams have."""
    rows = {
        task.name: [task.val.inputs[i : i + 1] for i in range(len(task.val))]
        for task in bench.suite
    }

    def logits(model, task, batch):
        with torch.autocast("cpu", enabled=False):
            f = normalize(model(*batch.prepare("cpu")).float(), dim=-1)
            return f @ bench.heads[task].weight.T + bench.heads[task].bias

    return ml.Bench(bench.encoder, rows, logits, joined, precision="float32")


def test_adamerging_on_texts_is_the_same_by_hand(bench):
    ours = adamerging(by_hand(bench), bench.tv, **QUICK)
    theirs = adamerging(bench, bench.tv, **QUICK)
    assert torch.equal(ours.merged, theirs.merged)
    assert not torch.equal(theirs.path[0], theirs.path[-1])


def test_a_mixture_on_texts_is_the_same_by_hand_and_leaves_padding_out(bench):
    ours = wemoe(by_hand(bench), bench.tv, standardise=False, **QUICK).model
    theirs = wemoe(bench, bench.tv, standardise=False, **QUICK).model
    state, other = ours.state_dict(), theirs.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in state.items())
    inputs = unlabelled(bench.suite)["kinds"].take(0, 8)
    with torch.no_grad():
        together = theirs(*inputs.prepare("cpu"))
        alone = torch.cat([theirs(*inputs[i : i + 1].prepare("cpu")) for i in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)
    table = bench.evaluate(theirs, limit=20)
    assert table["task"].tolist() == ["kinds", "order"]


def test_the_rate_falls_in_a_straight_line_after_so_many_steps():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.0)
    recipe, rates = FineTuning(lr=1.0, warmup_steps=4, schedule="linear"), []
    for step in range(24):
        set_rate(optimiser, recipe, step, 24)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[14] == pytest.approx(0.5) and rates[23] == pytest.approx(0.05)
    with pytest.raises(ValueError, match="unknown schedule 'line'.*did you mean 'linear'"):
        FineTuning(schedule="line")
