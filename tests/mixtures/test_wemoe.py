"""WEMoE and E-WEMoE: what they learn, what they keep, and their files."""

import copy
import json

import pandas as pd
import pytest
import torch
from toys import prepared, vit, vit_bench

import mergelib as ml
from mergelib.adaptation import mean_entropy, unlabelled
from mergelib.evaluation import evaluate
from mergelib.mixtures import ewemoe, load_mixture, prune, save_mixture, wemoe
from mergelib.mixtures.sparse_file import decode, encode
from mergelib.suites.suite import Suite
from mergelib.vectors.checkpoint import CheckpointError

QUICK = {"steps": 4, "batch": 6, "lr": 1e-2}


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    monkeypatch.setattr("mergelib.models.compute.bfloat16_is_fast", lambda device: False)


@pytest.fixture(scope="module")
def bench():
    return vit_bench()


def pixels(bench, count=6):
    return torch.cat([task.test.inputs.values[:count] for task in bench.suite])


def features(model, images):
    with torch.no_grad():
        return model(prepared(images))


@pytest.mark.parametrize("learn", [wemoe, ewemoe])
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("cosine", [False, True])
def test_learning_is_plain_autograd_on_the_routers(bench, learn, depth, cosine):
    """The same steps with torch's own optimiser and one loss for all tasks."""
    settings = {"depth": depth, "noise": 0.01, "standardise": False, "batch": 24, "lr": 1e-2}
    found = learn(bench, bench.tv, **settings, steps=4, cosine=cosine)  # all images in each step
    model = learn(bench, bench.tv, **settings, steps=0).model
    parameters = [p for r in model.routers for p in r.parameters()]
    adam, losses = torch.optim.Adam(parameters, lr=1e-2), []
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 4)
    for step in range(4):
        loss = torch.zeros(())
        for name, stream in unlabelled(bench.suite).items():
            x = prepared(stream.take(24 * step, 24))
            loss = loss + mean_entropy(bench.heads[name](model(x)))
        adam.zero_grad()
        loss.backward()
        adam.step()
        if cosine:
            schedule.step()
        losses.append(loss.item())
    assert found.loss.tolist() == pytest.approx(losses, rel=1e-4)
    assert losses[-1] < losses[0]
    ours = [p for r in found.model.routers for p in r.parameters()]
    for mine, theirs in zip(ours, parameters, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("learn", [wemoe, ewemoe])
def test_it_starts_where_the_static_method_is(bench, learn):
    model = learn(bench, bench.tv, steps=0, keep=1.0).model if learn is ewemoe else learn(
        bench, bench.tv, steps=0
    ).model  # fmt: skip
    merged = vit()
    merged.load_state_dict(bench.tv.layout.unflatten(ml.merging.task_arithmetic(bench.tv, 0.3)))
    torch.testing.assert_close(
        features(model, pixels(bench)), features(merged, pixels(bench)), rtol=0, atol=1e-5
    )


def test_the_rest_is_merged_by_any_static_method(bench):
    tv, shapes = bench.tv, {"depth": 0, "init": 0.1, "steps": 0}
    by_name = wemoe(bench, tv, rest="ties", rest_numbers={"density": 0.5}, **shapes).model
    by_weights = wemoe(bench, tv, rest=ml.merging.ties(tv, density=0.5), **shapes).model
    state = by_name.encoder_state()
    assert all(torch.equal(state[n], t) for n, t in by_weights.encoder_state().items())
    expected = tv.layout.unflatten(ml.merging.ties(tv, density=0.5))
    assert all(torch.equal(expected[name], t) for name, t in state.items())
    with pytest.raises(ValueError, match="by a static method, not by 'adamerging'"):
        wemoe(bench, tv, rest="adamerging")
    with pytest.raises(ValueError, match=r"weights of shape \(5824,\)"):
        wemoe(bench, tv, rest=torch.zeros(3))
    with pytest.raises(KeyError, match="no method 'tie'"):
        wemoe(bench, tv, rest="tie")


@pytest.mark.parametrize("learn", [wemoe, ewemoe])
def test_a_run_that_was_interrupted_ends_as_one_that_was_not(bench, learn, tmp_path):
    whole = learn(bench, bench.tv, **QUICK)
    path = tmp_path / "run.pt"

    def stop(model, seen=[]) -> pd.DataFrame:  # noqa: B006
        seen.append(None)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return pd.DataFrame()

    with pytest.raises(KeyboardInterrupt):
        learn(bench, bench.tv, **QUICK, checkpoint=path, save_every=1, evaluate=stop, every=1)
    assert torch.load(path)["done"] == 2
    rest = learn(bench, bench.tv, **QUICK, checkpoint=path)
    assert rest.loss.tolist() == whole.loss.tolist()
    for mine, theirs in zip(whole.model.routers, rest.model.routers, strict=True):
        for name, tensor in mine.state_dict().items():
            assert torch.equal(tensor, theirs.state_dict()[name]), name
    with pytest.raises(ValueError, match="with depth=1, not 2"):
        learn(bench, bench.tv, **{**QUICK, "depth": 2}, checkpoint=path)
    with pytest.raises(ValueError, match="with init=0.3, not 0.2"):
        learn(bench, bench.tv, **{**QUICK, "init": 0.2}, checkpoint=path)


def test_labels_are_not_read_and_nothing_is_changed(bench):
    tasks = {}
    for task in bench.suite:
        tasks[task.name] = copy.copy(task)
        for split in ("train", "val", "test"):
            data = copy.copy(getattr(task, split))
            object.__setattr__(data, "labels", None)
            object.__setattr__(tasks[task.name], split, data)
    before = copy.deepcopy(bench.encoder.state_dict())
    blind = (bench.encoder, bench.heads, Suite("toy", 16, tasks))
    found, seeing = wemoe(blind, bench.tv, **QUICK), wemoe(bench, bench.tv, **QUICK)
    assert found.loss.tolist() == seeing.loss.tolist()
    assert all(torch.equal(t, before[n]) for n, t in bench.encoder.state_dict().items())


def test_inductive_and_transductive_see_different_images(bench):
    losses = [wemoe(bench, bench.tv, **QUICK, split=s).loss.tolist() for s in ("val", "test")]
    assert losses[0] != losses[1]


def test_evaluations_are_of_the_model_as_it_is(bench):
    def measure(model) -> pd.DataFrame:
        return evaluate(model, bench.heads, bench.suite)

    found = wemoe(bench, bench.tv, **QUICK, evaluate=measure, every=2)
    assert sorted(found.evaluations["step"].unique()) == [0, 2, 4]
    last = found.evaluations[found.evaluations["step"] == 4]
    assert last["correct"].tolist() == measure(found.model)["correct"].tolist()


def test_pruning_keeps_the_largest_of_every_tensor(bench):
    pruned = prune(bench.tv, 0.1)
    before, after = ([tv.layout.unflatten(d) for d in tv.deltas] for tv in (bench.tv, pruned))
    for theirs, ours in zip(before, after, strict=True):
        for name, tensor in theirs.items():
            count = round(0.1 * tensor.numel())
            slow = sorted(range(tensor.numel()), key=lambda i: -abs(tensor.view(-1)[i]))[:count]
            expected = torch.zeros(tensor.numel())
            expected[slow] = tensor.view(-1)[slow]
            assert torch.equal(ours[name].view(-1), expected), name
    assert torch.equal(prune(bench.tv, 1.0).deltas, bench.tv.deltas)
    assert not prune(bench.tv, 0.0).deltas.any()
    with pytest.raises(ValueError, match="keep must be between 0 and 1, not 90"):
        prune(bench.tv, 90)


def test_ewemoe_has_one_router_and_sparse_dictionaries(bench):
    model = ewemoe(bench, bench.tv, keep=0.1, steps=0, depth=2).model
    assert len(model.routers) == 1 and len(model.parts) == 2
    assert ewemoe(bench, bench.tv, keep=0.1, shared=False, steps=0).model.routers[1:]
    places = prune(bench.tv, 0.1)
    state = places.layout.unflatten(places.deltas[1])
    for weight, bias, layer in model.named_layers():
        assert torch.equal(layer.dictionary.dense()[1], state[weight])
        assert torch.equal(layer.bias_deltas[1], state[bias])
        assert layer.dictionary.stored == 3 * round(0.1 * layer.weight.numel())
    assert model.sizes()["trainable"] == 16 * 16 + 16 + 3 * 16 + 3


@pytest.mark.parametrize("learn", [wemoe, ewemoe])
@pytest.mark.parametrize("parts", ["mlp", "both"])
def test_a_saved_mixture_is_the_same_when_loaded(bench, learn, parts, tmp_path):
    found = learn(bench, bench.tv, parts=parts, depth=2, routing="sample", **QUICK)
    path = tmp_path / "mixture.safetensors"
    save_mixture(found.model, path)
    loaded = load_mixture(path, vit())
    assert loaded.plan == found.model.plan
    assert torch.equal(features(loaded, pixels(bench)), features(found.model, pixels(bench)))
    assert torch.equal(loaded.coefficients(pixels(bench)), found.model.coefficients(pixels(bench)))
    assert loaded.sizes() == found.model.sizes()
    assert json.loads(path.with_suffix(".json").read_text())["tasks"] == list(bench.tv.tasks)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mixture.json", "mixture.safetensors"]


def test_files_that_hold_something_else_are_refused(bench, tmp_path):
    path = tmp_path / "a.safetensors"
    bench.tv.layout.save(bench.tv.base, path)
    with pytest.raises(CheckpointError, match="a.safetensors holds no mixture"):
        load_mixture(path, vit())
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_mixture(tmp_path / "b.safetensors", vit())
    save_mixture(wemoe(bench, bench.tv, steps=0).model, path)
    other = vit()
    other.transformer.resblocks = other.transformer.resblocks[:1]
    with pytest.raises(CheckpointError, match="a.safetensors is of another architecture"):
        load_mixture(path, other)


@pytest.mark.parametrize("density", [0.0, 0.0005, 0.01, 0.1, 0.5, 1.0])
def test_sparse_coding_is_exact(density):
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(2, 30, 101, generator=generator)
    tensor *= torch.rand(tensor.shape, generator=generator) < density
    gaps, values = encode(tensor)
    assert gaps.dtype == torch.uint8 and len(values) == int((tensor != 0).sum())
    assert torch.equal(decode(gaps, values, tensor.shape), tensor)
    if len(values):
        with pytest.raises(ValueError, match="do not fit"):
            decode(gaps, values[:-1], tensor.shape)
        with pytest.raises(ValueError, match="do not fit"):
            decode(gaps, values, (1, 1))


@pytest.mark.parametrize("distance", [0, 1, 254, 255, 256, 509, 510, 511])
def test_gaps_of_every_length_are_coded(distance):
    tensor = torch.zeros(600)
    tensor[3] = tensor[4 + distance] = 2.0
    gaps, values = encode(tensor)
    assert len(gaps) == 2 + distance // 255
    assert torch.equal(decode(gaps, values, (600,)), tensor)


@pytest.mark.parametrize("keep", [0.1, 0.01])
def test_a_sparse_file_is_as_small_as_it_claims(keep, tmp_path):
    """Of 4 bytes a number: the kept share times 5/4 exactly, times 3/4 in half precision, and
    for 1 in 100 the gaps that do not fit a byte."""
    from mergelib.mixtures.model import Plan, assemble
    from mergelib.models.encoders import build_encoder

    generator = torch.Generator().manual_seed(0)
    encoder = build_encoder("merge-vit-48-8")
    base = encoder.state_dict()
    deltas = {
        n: torch.randn(8, *t.shape, generator=generator) for n, t in base.items() if "mlp" in n
    }
    for tensor in deltas.values():
        tensor *= torch.rand(tensor.shape, generator=generator) < keep
    sites = tuple(f"transformer.resblocks.{i}.mlp" for i in range(6))
    plan = Plan(tuple("abcdefgh"), sites, depth=1, shared=True, sparse=True)
    model = assemble(encoder, plan, base, base, deltas)
    dense = 4 * sum(t.numel() for t in deltas.values())
    rest = 4 * sum(t.numel() for t in base.values())
    for precision, share in ((torch.float32, 1.25), (torch.float16, 0.75)):
        path = tmp_path / f"{precision}.safetensors"
        save_mixture(model, path, precision)
        spent = path.stat().st_size - rest
        assert spent < 1.1 * share * keep * dense
        loaded = load_mixture(path, encoder)
        for (_, _, ours), (_, _, theirs) in zip(
            loaded.named_layers(), model.named_layers(), strict=True
        ):
            exact = theirs.dictionary.dense()
            limit = 0 if precision == torch.float32 else 2**-10 * exact.abs().max()
            assert (ours.dictionary.dense() - exact).abs().max() <= limit


def test_mixtures_take_a_bench_and_task_vectors(bench):
    """function(bench, task vectors, **numbers): the record's `model` takes the encoder's place."""
    entries = {n: m for n, m in ml.methods.entries.items() if m.family == "mixture"}
    assert {"wemoe", "ewemoe"} <= set(entries)
    for entry in entries.values():
        few = {name: 1 for name in entry.defaults if name.endswith("steps")}
        found = entry.function(bench, bench.tv, **{**entry.defaults, **few})
        table = evaluate(found.model, bench.heads, bench.suite)
        assert table["task"].tolist() == list(bench.tv.tasks)


def test_mixtures_are_loaded_when_they_are_first_used():
    import subprocess
    import sys

    code = (
        "import sys, mergelib as ml; a = 'mergelib.mixtures' in sys.modules; "
        "ml.mixtures.wemoe; print(a, 'mergelib.mixtures' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False True"
