"""The same computations on a CUDA device; run wherever one is present."""

import pytest
import torch

import mergelib as ml
from mergelib.training.finetune import RECIPES, fine_tune
from mergelib.workbench import open_workbench

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


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


def test_an_expert_learns(benches):
    gpu = benches[1]
    task, head = gpu.suite["bars"], gpu.heads["bars"]
    weights, history = fine_tune(gpu.encoder, head, task, RECIPES["pico"])
    assert history[-1]["val_accuracy"] > 0.9
    assert all(v.device.type == "cpu" for v in weights.values())
