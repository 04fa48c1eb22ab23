"""Task weights learnt from labels: against plain autograd and against another optimiser."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from toys import IMAGES, PIXELS, linear_bench, normal, prepared

from mergelib.analysis import task_weights
from mergelib.workbench import open_workbench


@pytest.fixture(scope="module")
def toy():
    return linear_bench(normal(4, 4 * PIXELS))


def total_loss(bench, weights, picks=None):
    """Σ_t L_t at θ0 + Σ_k λ_k τ_k, task by task, in float64."""
    vector = bench.tv.base
    for k, weight in enumerate(weights):
        vector = vector + weight * bench.tv.deltas[k]
    total = 0.0
    for t, task in enumerate(bench.suite):
        pick = slice(None) if picks is None else picks[t]
        x = prepared(task.val.inputs.values[pick], torch.float64).flatten(1)
        logits = bench.heads[task.name](x @ vector.view(-1, PIXELS).T)
        total = total + F.cross_entropy(logits, task.val.labels[pick])
    return total


def test_the_steps_are_those_of_adam_on_plain_autograd(toy):
    found, history = task_weights.tuned_task_weights(
        toy, steps=12, lr=0.05, batch=IMAGES, start=0.2
    )
    weights = torch.full((4,), 0.2, dtype=torch.float64)
    first, second = torch.zeros(4).double(), torch.zeros(4).double()
    for step in range(12):
        leaf = weights.clone().requires_grad_()
        value = total_loss(toy, leaf)
        (slope,) = torch.autograd.grad(value, leaf)
        assert history["loss"][step] == pytest.approx(float(value.detach()), rel=1e-9)
        assert history.loc[step, list("abcd")].tolist() == pytest.approx(weights.tolist())
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        rate = 0.05 * (1 + math.cos(math.pi * step / 12)) / 2
        bias = 1 - 0.9 ** (step + 1), 1 - 0.999 ** (step + 1)
        weights = weights - rate * (first / bias[0]) / ((second / bias[1]).sqrt() + 1e-8)
    assert torch.allclose(found, weights, rtol=0, atol=1e-8)


def test_the_minimum_is_that_of_another_optimiser(toy):
    def value(weights):
        leaf = torch.tensor(weights).requires_grad_()
        total = total_loss(toy, leaf)
        total.backward()
        return float(total.detach()), leaf.grad.numpy()

    best = minimize(value, np.zeros(4), jac=True, tol=1e-10)  # convex: logits are linear in λ
    found, _ = task_weights.tuned_task_weights(toy, steps=400, lr=0.05, batch=IMAGES)
    assert found.numpy() == pytest.approx(best.x, abs=1e-4)
    assert float(total_loss(toy, found)) <= best.fun + 1e-7


def test_minibatches_cover_every_image_once_a_round(toy, monkeypatch):
    seen, real = [], task_weights.features
    monkeypatch.setattr(
        task_weights, "features", lambda b, v, i: seen.append(i.values) or real(b, v, i)
    )
    task_weights.tuned_task_weights(toy, steps=6, batch=10, seed=3)
    for t, task in enumerate(toy.suite):
        rounds = [
            torch.cat([s[10 * t : 10 * t + 10] for s in seen[3 * r : 3 * r + 3]]) for r in (0, 1)
        ]
        rows = [sorted(map(tuple, r.flatten(1).tolist())) for r in rounds]
        assert rows[0] == rows[1] == sorted(map(tuple, task.val.inputs.values.flatten(1).tolist()))
        assert not torch.equal(*rounds)


def test_one_seed_is_one_result(toy):
    runs = [task_weights.tuned_task_weights(toy, steps=5, batch=4, seed=s) for s in (0, 0, 1)]
    assert torch.equal(runs[0][0], runs[1][0])
    pd.testing.assert_frame_equal(runs[0][1], runs[1][1])
    assert not torch.equal(runs[0][0], runs[2][0])


def test_the_loss_falls_on_real_experts_and_nothing_is_changed():
    bench = open_workbench("pico", device="cpu")
    before = {k: v.clone() for k, v in bench.encoder.state_dict().items()}
    options = {"start": [0.3, 0.3, 0.3], "batch": 80, "steps": 30}
    weights, history = task_weights.tuned_task_weights(bench, **options)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0] - 0.1
    assert weights.shape == (3,) and not weights.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in bench.encoder.state_dict().items())
    assert all(p.grad is None for p in bench.encoder.parameters())


def test_any_task_vectors_will_do(toy):
    """Vectors half as long need weights twice as large."""
    options = {"steps": 300, "lr": 0.05, "batch": IMAGES}
    whole, _ = task_weights.tuned_task_weights(toy, **options)
    half, _ = task_weights.tuned_task_weights(toy, 0.5 * toy.tv, **options)
    assert half.numpy() == pytest.approx(2 * whole.numpy(), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"limit": 0}, "limit must be at least 1 input a task, not 0"),
        ({"start": [0.1, 0.2]}, "one number or 4"),
        ({"start": float("nan")}, "must be finite"),
    ],
)
def test_bad_numbers_are_named(toy, options, message):
    with pytest.raises(ValueError, match=message):
        task_weights.tuned_task_weights(toy, **options)
