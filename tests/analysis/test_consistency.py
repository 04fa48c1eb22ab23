"""Consistency gaps: against autograd, finite differences, and cases with a closed form."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from toys import PIXELS, PlainHead, linear_bench, normal, prepared

import mergelib as ml
from mergelib.analysis import interference, losses
from mergelib.workbench import open_workbench


@pytest.fixture(scope="module")
def bench():
    return open_workbench("pico", device="cpu")


def loss(bench, vector, task, n, split="val"):
    """The mean cross-entropy, in one piece and with the weights loaded into the module."""
    encoder = bench.encoder
    own = {k: v.clone() for k, v in encoder.state_dict().items()}
    encoder.load_state_dict(bench.tv.layout.unflatten(vector))
    data = bench.suite[task].split(split)
    x = prepared(data.inputs.values[:n], vector.dtype)
    with torch.no_grad():
        logits = bench.heads[task](encoder(x))
    encoder.load_state_dict(own)
    rows = torch.arange(len(logits))
    return float(-torch.log_softmax(logits, 1)[rows, data.labels[:n]].mean())


def test_the_measured_columns_are_those_of_two_models(bench):
    table = interference.consistency(bench, scale=0.4, limit=50).set_index("task")
    merged = bench.tv.base + 0.4 * bench.tv.sum()
    for task, row in table.iterrows():
        alone = bench.tv.base + 0.4 * bench.tv[task].deltas[0]
        assert row["n"] == 50
        assert row["alone"] == pytest.approx(loss(bench, alone, task, 50), rel=1e-5)
        assert row["merged"] == pytest.approx(loss(bench, merged, task, 50), rel=1e-5)
        assert row["gap"] == pytest.approx(row["merged"] - row["alone"], abs=1e-6)


def test_accuracies_and_changed_answers_are_counted():
    bench = linear_bench(normal(2, 4 * PIXELS))
    table = interference.consistency(bench, scale=0.5, limit=None)
    for row in table.itertuples():
        task, data = row.task, bench.suite[row.task].val
        x = prepared(data.inputs.values, torch.float64).flatten(1)
        answers = []
        for vector in (bench.tv[task].deltas[0], bench.tv.sum()):
            weight = (bench.tv.base + 0.5 * vector).view(4, PIXELS)
            answers.append(bench.heads[task](x @ weight.T).argmax(1))
        right = [float((a == data.labels).double().mean()) for a in answers]
        assert (row.accuracy_alone, row.accuracy_merged) == pytest.approx(right)
        assert row.accuracy_gap == pytest.approx(right[1] - right[0])
        assert row.changed == pytest.approx(float((answers[0] != answers[1]).double().mean()))
        assert 0 < row.changed < 1


def test_the_error_is_the_standard_error_of_paired_differences():
    bench = linear_bench(normal(2, 4 * PIXELS))
    row = interference.consistency(bench, tasks=["b"], limit=20).iloc[0]
    data, found = bench.suite["b"].val.take(20), []
    for vector in (bench.tv["b"].deltas[0], bench.tv.sum()):
        weight = (bench.tv.base + 0.3 * vector).view(4, PIXELS)
        x = prepared(data.inputs.values, torch.float64).flatten(1)
        logits = bench.heads["b"](x @ weight.T)
        found.append(F.cross_entropy(logits, data.labels, reduction="none").numpy())
    assert row["error"] == pytest.approx(pd.Series(found[1] - found[0]).sem(), rel=1e-9)


@pytest.mark.parametrize("batch", [7, 64])
def test_the_gradient_is_that_of_the_module(bench, batch, monkeypatch):
    monkeypatch.setattr(losses, "GRADIENT_BATCH", batch)
    at = losses.slopes(bench, scale=0.3, limit=30, tasks=["spots"]).tasks["spots"]
    encoder, data = bench.encoder, bench.suite["spots"].val.take(30)
    own = {k: v.clone() for k, v in encoder.state_dict().items()}
    vector = bench.tv.base + 0.3 * bench.tv["spots"].deltas[0]
    encoder.load_state_dict(bench.tv.layout.unflatten(vector))
    logits = bench.heads["spots"](encoder(prepared(data.inputs.values)))
    names, parameters = zip(*encoder.named_parameters(), strict=True)
    parts = torch.autograd.grad(F.cross_entropy(logits, data.labels), parameters)
    gradient = bench.tv.layout.flatten(dict(zip(names, parts, strict=True))).double()
    encoder.load_state_dict(own)
    deltas = bench.tv.deltas.double()
    size, tau = gradient.norm(), deltas[bench.tv.tasks.index("spots")]
    assert torch.allclose(at.along, deltas @ gradient, rtol=0, atol=1e-5 * float(size))
    cosine = -float(gradient @ tau / (size * tau.norm()))
    assert at.alignment == pytest.approx(cosine, abs=1e-5)
    assert at.kappa == pytest.approx(cosine * float(size / tau.norm()), abs=1e-5 * float(size))


def test_slopes_are_the_limits_of_difference_quotients():
    bench = linear_bench(normal(3, 4 * PIXELS))
    pairs = interference.interference_pairs(bench, scale=0.3, limit=None)
    assert len(pairs) == 6
    for row in pairs.itertuples():
        here = bench.tv.base + 0.3 * bench.tv[row.task].deltas[0]
        step = 1e-5 * bench.tv[row.other].deltas[0]
        up, down = (loss(bench, here + s * step, row.task, None) for s in (1, -1))
        assert row.predicted == pytest.approx(0.3 * (up - down) / 2e-5, rel=1e-7, abs=1e-9)


def test_what_the_prediction_leaves_out_is_the_second_order_term():
    """With logits linear in the weights, ∇²L along d is the variance of the logits' change."""
    bench = linear_bench(normal(3, 4 * PIXELS))
    rest = []
    for size in (4e-3, 2e-3):
        table = interference.consistency(bench, scale=size, limit=None).set_index("task")
        for task, row in table.iterrows():
            tau = bench.tv[task].deltas[0]
            x = prepared(bench.suite[task].val.inputs.values, torch.float64).flatten(1)
            head = bench.heads[task]
            p = head(x @ (bench.tv.base + size * tau).view(4, PIXELS).T).softmax(1)
            moved = x @ (size * (bench.tv.sum() - tau)).view(4, PIXELS).T @ head.weight.T
            variance = (p * moved**2).sum(1) - (p * moved).sum(1) ** 2
            second = float(variance.mean()) / 2
            rest.append((row["gap"] - row["predicted"] - second) / second)
    for coarse, fine in zip(rest[:3], rest[3:], strict=True):
        assert abs(fine) < 2e-2
        assert coarse / fine == pytest.approx(2, rel=0.1)  # the third-order term


def hopeless(deltas):
    """Every image is so surely misread that its loss is linear in the logits: L = z_1 − z_0."""
    heads = {
        n: PlainHead(normal(2, 4, seed=k), torch.tensor([-90.0, 0.0]).double())
        for k, n in enumerate("abc"[: len(deltas)])
    }
    bench = linear_bench(deltas, classes=2, heads=heads)
    for task in bench.suite:
        task.val.labels.zero_()
    return bench


def test_the_prediction_is_exact_where_the_loss_is_linear():
    table = interference.consistency(hopeless(0.3 * normal(3, 4 * PIXELS)), scale=0.7)
    assert (table["accuracy_alone"] == 0).all() and (table["changed"] == 0).all()
    assert table["gap"].abs().min() > 1e-3
    assert table["predicted"].tolist() == pytest.approx(table["gap"].tolist(), rel=1e-9)
    assert (table["crude"] - table["gap"]).abs().min() > 1e-3


def test_inner_products_suffice_where_gradients_oppose_their_own_vector():
    bench = hopeless(torch.zeros(3, 4 * PIXELS, dtype=torch.float64))
    rows = []
    for k, task in enumerate("abc"):  # L = z_1 − z_0 has the gradient (w_1 − w_0) x̄ᵀ everywhere
        x = prepared(bench.suite[task].val.inputs.values, torch.float64).flatten(1).mean(0)
        weight = bench.heads[task].weight
        rows.append(-(k + 1) * 0.1 * torch.outer(weight[1] - weight[0], x).flatten())
    bench = hopeless(torch.stack(rows))
    table = interference.consistency(bench, scale=0.5)
    assert table["crude"].tolist() == pytest.approx(table["gap"].tolist(), rel=1e-9)
    pairs = interference.interference_pairs(bench, scale=0.5)
    assert pairs["alignment"].tolist() == pytest.approx([1.0] * 6)
    assert pairs["crude"].tolist() == pytest.approx(pairs["measured"].tolist(), rel=1e-9)
    slopes = losses.slopes(bench).tasks
    assert [slopes[t].kappa for t in "abc"] == pytest.approx([10, 5, 10 / 3])


def test_pairs_add_up_to_the_prediction_of_all_together(bench):
    at = losses.slopes(bench, limit=20)
    pairs, table = interference.interference_pairs(bench, at), interference.consistency(bench, at)
    sums = pairs.groupby("task", sort=False)[["predicted", "crude"]].sum()
    for column in sums:
        assert sums[column].tolist() == pytest.approx(table[column].tolist(), rel=1e-6)
    cosines = bench.tv.cosines()
    for row in pairs.itertuples():
        i, j = bench.tv.tasks.index(row.task), bench.tv.tasks.index(row.other)
        assert row.cosine == float(cosines[i, j])
        two = bench.tv.base + 0.3 * (bench.tv.deltas[i] + bench.tv.deltas[j])
        alone = bench.tv.base + 0.3 * bench.tv.deltas[i]
        gap = loss(bench, two, row.task, 20) - loss(bench, alone, row.task, 20)
        assert row.measured == pytest.approx(gap, abs=1e-5)


def test_slopes_measured_before_give_the_same_tables(bench):
    fresh = interference.consistency(bench, scale=0.2, limit=20, split="test")
    at = losses.slopes(bench, scale=0.2, limit=20, split="test")
    pd.testing.assert_frame_equal(fresh, interference.consistency(bench, at))
    with pytest.raises(ValueError, match="own scale, split, limit and tasks; limit, scale cannot"):
        interference.consistency(bench, at, limit=5, scale=0.2)


def test_by_scale_every_row_is_a_row_of_the_table_at_that_scale(bench):
    at = losses.slopes(bench, scale=0.3, limit=20)
    table = interference.gap_by_scale(bench, [0.1, at], limit=20)
    assert table["scale"].unique().tolist() == [0.1, 0.3]
    for scale, rows in table.groupby("scale"):
        expected = interference.consistency(bench, scale=scale, limit=20)
        rows = rows.drop(columns="scale").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, expected)


def test_by_count_every_set_is_merged_by_itself(bench):
    table = interference.gap_by_count(bench, sets=3, scale=0.3, limit=20)
    assert table.groupby("tasks").size().to_dict() == {2: 6, 3: 3}
    for row in table.itertuples():
        chosen = table[(table["tasks"] == row.tasks) & (table["set"] == row.set)]["task"]
        alone = interference.consistency(bench, bench.tv[list(chosen)], limit=20, tasks=[row.task])
        for column in ("gap", "predicted", "crude", "changed"):
            assert getattr(row, column) == pytest.approx(alone[column][0], abs=1e-5)


def test_nothing_is_computed_twice(bench, monkeypatch):
    calls = []
    real = losses.features
    monkeypatch.setattr(losses, "features", lambda b, v, i: calls.append(len(i)) or real(b, v, i))
    at = losses.slopes(bench, limit=30)
    assert calls == [30] * 3
    interference.consistency(bench, at)
    assert calls == [30] * 6
    interference.interference_pairs(bench, at)
    assert calls == [30] * 12
    interference.gap_by_count(bench, at, sets=3)
    assert calls == [30] * 21


def test_a_vector_of_zeros_has_no_direction_and_disturbs_nobody():
    deltas = normal(2, 4 * PIXELS)
    deltas[1] = 0
    table = interference.interference_pairs(linear_bench(deltas)).set_index("task")
    assert table.loc["a", ["measured", "predicted", "crude"]].tolist() == [0, 0, 0]
    assert table.loc["b", ["crude", "alignment"]].tolist() == [0, 0]
    assert table.loc["b", "predicted"] != 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit must be at least 1 input a task, not 0"),
        ({"scale": float("nan")}, "scale must be finite, not nan"),
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"tasks": ["spot"]}, "no task 'spot' among digits, bars, spots; did you mean 'spots'"),
    ],
)
def test_what_cannot_be_measured_is_named(bench, options, message):
    with pytest.raises((KeyError, ValueError), match=message):
        interference.consistency(bench, **options)


def test_vectors_of_another_model_are_refused(bench):
    other = ml.TaskVectors.from_states({"w": torch.zeros(3)}, {"bars": {"w": torch.ones(3)}})
    with pytest.raises(ValueError, match="belong to base, whose tensors differ"):
        interference.consistency(bench, other)


def test_pairs_are_ranked_in_both_directions_and_agreement_is_correlation():
    pairs = pd.DataFrame(
        [
            ("a", "b", 0.1, 0.1, -0.1, 0.3),
            ("b", "a", 0.9, 0.9, -0.9, 0.3),
            ("a", "c", 0.8, 0.8, -0.8, 0.2),
            ("c", "a", 0.0, 0.0, 0.0, 0.2),
            ("b", "c", 0.3, 0.3, -0.3, 0.1),
            ("c", "b", 0.3, 0.3, -0.3, 0.1),
        ],
        columns=["task", "other", "measured", "predicted", "crude", "cosine"],
    )
    assert interference.friendly_and_hostile(pairs) == (("b", "c"), ("a", "b"))
    found = interference.agreement(pairs)
    assert (found["predicted"], found["crude"]) == pytest.approx((1, -1))
    ranks = pd.DataFrame({"x": [2, 6, 5, 1, 3.5, 3.5], "y": [5.5, 5.5, 3.5, 3.5, 1.5, 1.5]})
    assert found["cosine"] == pytest.approx(ranks["x"].corr(ranks["y"]))
