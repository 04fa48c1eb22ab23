"""The two parts of the consistency gap, against autograd and by reversing the vectors."""

import pytest
import torch
import torch.nn.functional as F
from toys import PIXELS, linear_bench, normal, prepared

from mergelib.analysis import interference, losses


def test_the_parts_add_up_to_the_gap_of_the_consistency_table():
    bench = linear_bench(normal(2, 4 * PIXELS))
    at = losses.slopes(bench, scale=0.7, limit=20)
    parts, table = interference.reversal(bench, at), interference.consistency(bench, at)
    assert list(parts["task"]) == list(table["task"])
    assert parts["gap"].to_numpy() == pytest.approx(table["gap"].to_numpy(), abs=1e-12)
    assert (parts["odd"].abs() > 1e-3).all() and (parts["even"] > 1e-3).all()


def test_small_steps_give_slope_and_curvature():
    """Float64: the odd part is the gradient's prediction, the even part half the curvature."""
    bench, scale = linear_bench(normal(2, 4 * PIXELS)), 1e-3
    at = losses.slopes(bench, scale=scale, limit=None)
    table = interference.consistency(bench, at).set_index("task")
    for row in interference.reversal(bench, at).itertuples():
        data, own = bench.suite[row.task].val, bench.tv[row.task].deltas[0]
        x, head = prepared(data.inputs.values, torch.float64).flatten(1), bench.heads[row.task]

        def loss(w, x=x, head=head, labels=data.labels):
            return F.cross_entropy(head(x @ w.view(4, PIXELS).T), labels)

        others = bench.tv.sum() - own
        _, bent = torch.autograd.functional.hvp(loss, bench.tv.base + scale * own, others)
        assert row.odd == pytest.approx(table.loc[row.task, "predicted"], rel=1e-4)
        assert row.even == pytest.approx(0.5 * scale**2 * float(bent @ others), rel=1e-3)


def test_gap_parts_are_the_means_of_each_kind_against_itself():
    bench = linear_bench(normal(2, 4 * PIXELS))
    half = 0.5 * bench.tv
    table = interference.gap_parts(bench, {"τ": bench.tv, "half": half}, scale=0.6, limit=20)
    for name, vectors in (("τ", bench.tv), ("half", half)):
        parts = interference.reversal(bench, losses.slopes(bench, vectors, scale=0.6, limit=20))
        for column in ("gap", "odd", "even"):
            assert table.loc[name, column] == pytest.approx(parts[column].mean())
    whole = interference.reversal(bench, losses.slopes(bench, scale=0.3, limit=20))
    assert table.loc["half", "gap"] == pytest.approx(whole["gap"].mean())
