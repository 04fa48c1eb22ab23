"""Heads and experts in the cache: made once, found again, remade when their origin changes."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mergelib.study.prepare import prepare_task
from mergelib.study.profiles import load_profile
from mergelib.suites import load_suite, pico
from mergelib.suites.bases import base_file
from mergelib.training import experts


def with_epochs(epochs):
    return replace(pico.SPEC, recipe=replace(pico.SPEC.recipe, epochs=epochs))


@pytest.fixture
def suite(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGELIB_CACHE", str(tmp_path))
    monkeypatch.setattr(pico, "SPEC", with_epochs(1))
    return load_suite("pico")


def test_an_expert_is_trained_once(suite, monkeypatch):
    path = experts.train_expert(suite, "bars", device="cpu")
    monkeypatch.setattr(experts, "fine_tune", None)
    assert experts.train_expert(suite, "bars", device="cpu") == path
    assert [h["epoch"] for h in experts.training_history(suite, "bars")] == [1]
    assert not list(path.parent.glob("*.partial"))


def test_seed_recipe_and_head_decide_where_an_expert_lies(suite, monkeypatch):
    path = experts.expert_file(suite, "bars")
    assert experts.expert_file(suite, "bars", seed=1) != path
    assert experts.expert_file(suite, "spots") != path
    with monkeypatch.context() as patch:
        patch.setattr(pico, "SPEC", with_epochs(2))
        assert experts.expert_file(suite, "bars") != path
    with monkeypatch.context() as patch:
        patch.setattr(experts, "suite_key", lambda name: "other pixels")
        assert experts.expert_file(suite, "bars") != path
    with monkeypatch.context() as patch:
        patch.setattr(experts.keys, "versions", lambda: {"torch": "another"})
        assert experts.expert_file(suite, "bars") != path
    assert experts.expert_file(suite, "bars") == path


def test_a_number_format_has_heads_and_experts_of_its_own(suite, monkeypatch):
    def files(precision):
        given = {"device": "cpu", "precision": precision}
        return experts.heads_file(suite, **given), experts.expert_file(suite, "bars", **given)

    single, half = files("float32"), files("bfloat16")
    assert not {*single} & {*half}
    # "auto" is the format that this machine has, so that a cache that moves never mixes them.
    for fast, meant in ((True, half), (False, single)):
        monkeypatch.setattr("mergelib.models.compute.bfloat16_is_fast", lambda device, f=fast: f)
        assert files("auto") == meant
    with pytest.raises(ValueError, match="unknown precision 'float16'.*did you mean 'bfloat16'"):
        files("float16")


def test_an_expert_is_trained_in_the_format_that_was_asked_for(suite):
    weights = {}
    for precision in ("float32", "bfloat16"):
        run = {"device": "cpu", "precision": precision}
        path = experts.train_expert(suite, "bars", **run)
        weights[precision] = load_file(path)["conv1.weight"]
        assert json.loads(path.with_suffix(".json").read_text())["recipe"]["precision"] == precision
    assert not torch.equal(*weights.values())
    assert torch.allclose(*weights.values(), atol=0.05)


def test_the_study_makes_the_experts_of_its_profiles_seed(suite):
    profile = replace(load_profile("pico"), seed=3)
    made = prepare_task(profile, "experts", "bars", say=lambda line: None)
    run = {"seed": 3, "device": "cpu", "precision": "float32"}
    assert (profile.device, profile.precision) == ("cpu", "float32")
    assert made["expert"] == experts.expert_file(suite, "bars", **run).name
    assert made["epochs"] == experts.training_history(suite, "bars", **run)


def test_heads_are_fitted_once_and_fit_their_tasks(suite, monkeypatch):
    heads = experts.load_heads(suite, "cpu")
    monkeypatch.setattr(experts, "linear_probe", None)
    again = experts.load_heads(suite, "cpu")
    for task in suite:
        assert heads[task.name].weight.shape == (len(task.classes), 16)
        assert torch.equal(heads[task.name].weight, again[task.name].weight)


def test_task_vectors_are_experts_minus_base(suite):
    tv = experts.load_task_vectors(suite, device="cpu")
    base = load_file(base_file("pico"))
    expert = load_file(experts.expert_file(suite, "spots"))
    delta = tv.layout.unflatten(tv["spots"].deltas[0])
    for name, value in expert.items():
        assert torch.allclose(delta[name], value - base[name], atol=1e-7)


def test_an_unknown_task_is_named_before_anything_is_trained(suite):
    with pytest.raises(KeyError, match="unknown task 'bar' in suite 'pico'"):
        experts.train_expert(suite, "bar", device="cpu")
    assert not (experts.expert_file(suite, "bars").parent).exists()
