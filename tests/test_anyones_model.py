"""Every method that learns, on models of every family, by way of `ml.Bench` and nothing else."""

import warnings

import pytest
import torch
from families import FAMILIES, TASKS, inputs_of, outputs, setting

import mergelib as ml
from mergelib.adaptation import CollapseWarning

QUICK = {"steps": 2, "batch": 3, "progress": False}
LEARNT = {
    "adamerging": {"lr": 0.05, "init": 0.2},
    "concrete_task_arithmetic": {"lr": 0.1, "scale": 0.2},
    "concrete_adamerging": {"lr": 0.1, "init": 0.2, "coefficient_steps": 2},
    "wemoe": {"lr": 0.05, "init": 0.2},
    "ewemoe": {"lr": 0.05, "init": 0.2, "keep": 0.5},
    "twin_merging": {},
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """(name, bench, task vectors): three tasks with a head each, inputs of unequal lengths."""
    name = request.param
    model, tv = setting(name, spread=0.05)
    generator, heads = torch.Generator().manual_seed(5), {}
    width = pooled(name, model, inputs_of(name)).shape[1]
    for number, task in enumerate(TASKS):
        heads[task] = 3 * torch.randn(3 + number, width, generator=generator)

    def logits(model, task, batch):
        return pooled(name, model, batch) @ heads[task].T

    rows = {t: [x for s in range(4) for x in inputs_of(name, 10 * k + s)] for k, t in
            enumerate(TASKS)}  # fmt: skip
    return name, ml.Bench(model, rows, logits, list, precision="float32"), tv


def pooled(name, model, batch) -> torch.Tensor:
    """One vector an input: features as they are, or the mean over real tokens, of unit length."""
    found = [x.mean(0) if x.dim() == 2 else x for x in outputs(name, model, batch)]
    return torch.nn.functional.normalize(torch.stack(found), dim=-1)


@pytest.mark.parametrize("method", LEARNT)
def test_a_method_runs_on_it_and_learns_something(family, method):
    name, bench, tv = family
    entry = ml.methods.entries[method]
    assert entry.needs == "unlabelled inputs, sorted by task"
    before = {n: t.clone() for n, t in bench.model.state_dict().items()}
    options = {"epochs": 2, "batch": 4} if method == "twin_merging" else QUICK
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapseWarning)
        warnings.filterwarnings("ignore", message=".*cannot be mixed for every input")
        found = entry.function(bench, tv, **LEARNT[method], **options)
    assert all(torch.equal(before[n], t) for n, t in bench.model.state_dict().items())
    batch = inputs_of(name, 99)
    if entry.family == "adaptive":
        start = ml.merging.task_arithmetic(tv, 0.2)
        assert found.merged.shape == start.shape and bool(found.merged.isfinite().all())
        assert not torch.allclose(found.merged, start, atol=1e-4)
        assert found.history["task"].tolist()[:3] == list(TASKS)
    else:
        learnt = found.model.learnt()  # routers begin without weights
        assert any(bool(t.any()) for n, t in learnt.items() if n.endswith("weight"))
        answers = [bench.answer(found.model, task, batch) for task in TASKS]
        assert [a.shape[1] for a in answers] == [3, 4, 5]
        assert all(bool(a.isfinite().all()) for a in answers)
        alone = bench.answer(found.model, TASKS[0], batch[1:2])
        torch.testing.assert_close(answers[0][1:2], alone, atol=1e-5, rtol=1e-4)


def test_a_mixture_begins_as_task_arithmetic(family):
    name, bench, tv = family
    found = ml.mixtures.wemoe(bench, tv, init=0.3, steps=0)
    state = tv.layout.state_for(bench.model, ml.merging.task_arithmetic(tv, 0.3))
    batch = inputs_of(name, 98)
    plain = torch.func.functional_call(Asked(bench), {f"model.{n}": t for n, t in state.items()},
                                       (batch,))  # fmt: skip
    torch.testing.assert_close(
        bench.answer(found.model, TASKS[1], batch), plain, atol=1e-5, rtol=1e-5
    )


class Asked(torch.nn.Module):
    """The bench's question as a module, so that torch can run it with other tensors."""

    def __init__(self, bench):
        super().__init__()
        self.model, self.bench = bench.model, bench

    def forward(self, batch):
        return self.bench.answer(self.model, TASKS[1], batch)
