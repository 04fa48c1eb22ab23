"""The same computations on a CUDA device; run wherever one is present."""

import pytest
import torch

import mergelib as ml
from mergelib.analysis import interference, planes, task_weights
from mergelib.suites import spec_of
from mergelib.training.finetune import fine_tune
from mergelib.workbench import open_workbench

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def benches():
    return open_workbench("pico", device="cpu"), open_workbench("pico", device="cuda")


def test_merging_gives_the_same_weights(benches):
    cpu, gpu = benches
    for merge in (
        lambda tv: ml.merging.task_arithmetic(tv, 0.3),
        lambda tv: ml.merging.ties(tv, density=0.2, scale=0.3),
        lambda tv: ml.merging.awd_task_arithmetic(tv, granularity="row"),
        lambda tv: ml.merging.awd(tv, solver="descent", steps=20).redundant,
    ):
        assert torch.allclose(merge(cpu.tv), merge(gpu.tv).cpu(), atol=1e-6)


def test_accuracies_agree_but_for_rounding(benches):
    cpu, gpu = (b.evaluate(b.expert("bars")) for b in benches)
    assert (cpu["correct"] - gpu["correct"]).abs().max() <= 2


def test_a_combination_and_its_gradients_are_the_same(benches):
    found = []
    for bench in benches:
        combine = ml.adaptation.Combination(bench.tv)
        shape = len(bench.tv), len(combine.groups)
        c = torch.linspace(0, 1, shape[0] * shape[1]).view(shape).to(bench.tv.device)
        mask = torch.linspace(0, 2, bench.tv.layout.size).to(bench.tv.device)
        weights = combine(c.requires_grad_(), mask.requires_grad_())
        weights.square().sum().backward()
        found.append([t.detach().cpu() for t in (weights, c.grad, mask.grad)])
    for cpu, gpu in zip(*found, strict=True):
        torch.testing.assert_close(gpu, cpu, rtol=1e-4, atol=1e-5)


def test_masks_have_mean_one_and_a_gradient(benches):
    layout = benches[1].tv.layout
    logits = torch.zeros(layout.size, device="cuda", requires_grad=True)
    draws = [
        ml.adaptation.relaxed_mask(logits, layout, 0.5, torch.Generator().manual_seed(1))
        for _ in range(2)
    ]
    assert torch.equal(*draws) and draws[0].std() > 0.3
    parts = layout.unflatten(draws[0])
    for name in layout.names:
        assert parts[name].mean().item() == pytest.approx(1, abs=1e-5)
    (draws[0] ** 2).sum().backward()
    assert logits.grad.isfinite().all() and logits.grad.abs().sum() > 0


def test_adaptation_runs_and_starts_at_the_same_loss(benches):
    for learn in (ml.adaptation.adamerging, ml.adaptation.concrete_task_arithmetic):
        cpu, gpu = (learn(bench, bench.tv, steps=3) for bench in benches)
        assert gpu.merged.device.type == "cuda" and gpu.merged.isfinite().all()
        if learn is ml.adaptation.adamerging:
            assert gpu.loss.iloc[0] == pytest.approx(cpu.loss.iloc[0], abs=0.05)


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_a_weight_ensembling_layer_is_the_same(evaluation):
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 7, 24), (5, 3), (40, 24), (40,), (3, 40, 24), (3, 40))
    x, mix, *tensors = (torch.randn(s, generator=generator) for s in shapes)
    found = {}
    for device, dtype in (("cpu", None), ("cuda", None), ("cuda", torch.bfloat16)):
        layer = ml.mixtures.WeightEnsemblingLinear(*(t.to(device) for t in tensors), evaluation)
        inputs = [t.to(device).requires_grad_() for t in (x, mix)]
        with torch.autocast("cuda", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            y = layer(*inputs)
        assert y.dtype == (dtype or torch.float32)
        gradients = torch.autograd.grad(y.float().square().sum(), inputs)
        found[device, dtype] = [t.detach().float().cpu() for t in (y, *gradients)]
    expected = found.pop(("cpu", None))
    for (_, dtype), tensors in found.items():
        limit = 3e-2 if dtype else 3e-3  # TF32 may be on
        for ours, theirs in zip(tensors, expected, strict=True):
            assert (ours - theirs).abs().max() < limit * theirs.abs().max()


def test_mixtures_learn_and_start_at_the_same_loss(benches):
    for learn in (ml.mixtures.wemoe, ml.mixtures.ewemoe):
        cpu, gpu = (learn(bench, bench.tv, steps=2) for bench in benches)
        assert gpu.loss.iloc[0] == pytest.approx(cpu.loss.iloc[0], abs=0.05)
    twin = ml.mixtures.twin_merging(benches[1], benches[1].tv, epochs=3)
    assert twin.history["loss"].notna().all()
    pixels = torch.rand(2, 3, 16, 16, device="cuda")
    assert twin.model(pixels).isfinite().all()


def test_an_expert_learns(benches):
    gpu = benches[1]
    task, head = gpu.suite["bars"], gpu.heads["bars"]
    weights, history = fine_tune(gpu.encoder, head, task, spec_of("pico").recipe)
    assert history[-1]["val_accuracy"] > 0.9
    assert all(v.device.type == "cpu" for v in weights.values())


def test_gaps_and_tuned_weights_agree_but_for_rounding(benches):
    cpu, gpu = (interference.consistency(b, scale=0.5) for b in benches)
    for column in ("gap", "predicted", "crude"):
        assert gpu[column].tolist() == pytest.approx(cpu[column].tolist(), rel=1e-2, abs=1e-3)
    weights = [task_weights.tuned_task_weights(b, steps=10)[0].cpu() for b in benches]
    assert torch.allclose(*weights, atol=0.02)
    maps = [planes.disentanglement_map(b, ["bars", "spots"], num=3).error for b in benches]
    assert abs(maps[0] - maps[1]).max() < 0.1
