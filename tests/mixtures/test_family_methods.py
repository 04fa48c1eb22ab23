"""WEMoE, E-WEMoE and Twin-Merging learn on a bench of every family of transformers."""

import pytest
import torch
from families import FAMILIES, TASKS, inputs_of, outputs, setting

import mergelib as ml
from mergelib.mixtures import ewemoe, twin_merging, wemoe


def bench_of(name, model):
    """A bench as a user writes one: lists of inputs, and a function from features to logits."""
    streams = {task: inputs_of(name, seed=number) * 2 for number, task in enumerate(TASKS)}

    def logits(asked, task, batch):
        pooled = torch.stack([rows.reshape(-1, rows.shape[-1]).mean(0)
                              for rows in outputs(name, asked, batch)])  # fmt: skip
        return pooled[:, :4]

    return ml.Bench(model, streams, logits, collate=list, precision="float32")


@pytest.mark.filterwarnings("ignore:tensor .* differs between the experts")
@pytest.mark.parametrize("name", FAMILIES)
def test_they_run_and_learn_the_routers(name):
    model, tv = setting(name)
    bench, inputs = bench_of(name, model), inputs_of(name)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    for learn in (wemoe, ewemoe):
        start = learn(bench, tv, steps=0, batch=4, progress=False).model
        found = learn(bench, tv, steps=2, batch=4, lr=1e-2, progress=False).model
        assert any(not torch.equal(t, start.learnt()[n]) for n, t in found.learnt().items())
        with torch.no_grad():
            assert all(rows.isfinite().all() for rows in outputs(name, found, inputs))
    twin = twin_merging(bench, tv, epochs=2, batch=4, progress=False)
    assert len(twin.history) == 2
    with torch.no_grad():
        assert all(rows.isfinite().all() for rows in outputs(name, twin.model, inputs))
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
