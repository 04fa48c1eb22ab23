"""What the chapters plot and quote, against hand-made cases and slow versions."""

import numpy as np
import pandas as pd
import pytest
import torch

import mergelib as ml
import mergelib.evaluation
from mergelib.analysis import comparison, geometry, planes, transfer
from mergelib.analysis.result import Result
from mergelib.analysis.transfer import windows
from mergelib.figures.accuracy import spread
from mergelib.workbench import best_scale, open_workbench


@pytest.fixture(scope="module")
def bench():
    return open_workbench("pico", device="cpu")


def result(values: dict[str, float], n=100) -> Result:
    return Result({task: torch.arange(n) < round(n * share) for task, share in values.items()})


RESULTS = {
    "base": result({"z": 0.5, "a": 0.6}),
    "a": result({"z": 0.1, "a": 0.9}),
    "z": result({"z": 0.8, "a": 0.4}),
}


def test_experts_are_read_on_their_own_tasks_in_the_order_of_the_suite():
    own = transfer.own_task(RESULTS).table
    assert own["task"].tolist() == ["z", "a"]
    assert own["accuracy"].tolist() == [0.8, 0.9]


def test_an_expert_is_measured_on_all_of_its_own_task_and_on_some_of_the_others(bench):
    found = transfer.expert_results(bench, others_limit=7)
    assert list(found) == ["base", *bench.suite.names]
    for name in bench.suite.names:
        table = found[name].table
        assert table["task"].tolist() == list(bench.suite.names)
        counts = {
            task: len(bench.suite[task].test) if task == name else 7 for task in table["task"]
        }
        assert dict(zip(table["task"], table["n"], strict=True)) == counts
        for row in table.itertuples():
            limit = None if row.task == name else 7
            plain = bench.evaluate(bench.expert(name), tasks=[row.task], limit=limit)
            assert row.correct == plain["correct"][0]
    assert found["base"].table["correct"].tolist() == bench.evaluate()["correct"].tolist()


def test_forgetting_is_the_loss_on_the_other_tasks():
    lost = transfer.forgotten(RESULTS)
    assert lost["a"] == pytest.approx(0.4)
    assert lost["z"] == pytest.approx(0.2)


def test_percent_leaves_counts_scales_and_the_input_alone():
    shares = pd.DataFrame({"accuracy": [0.123456], "scale": [0.3], "n": [7], "task": ["a"]})
    shown = comparison.percent(shares)
    assert shown.iloc[0].tolist() == [12.3, 0.3, 7, "a"]
    assert shares["accuracy"][0] == 0.123456


def test_percent_gives_methods_their_titles():
    index = pd.Index(["ties", "adamerging, task-wise", "nothing"], name="method")
    shown = comparison.percent(pd.DataFrame({"accuracy": 0.5}, index))
    assert shown.index.tolist() == ["TIES", "AdaMerging, task-wise", "nothing"]


def test_percent_shows_a_dash_where_there_is_no_number():
    shown = comparison.percent(pd.DataFrame({"λ": [0.3, np.nan], "accuracy": [np.nan, 0.5]}))
    assert shown.to_numpy().tolist() == [[0.3, "–"], ["–", 50.0]]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_windows_cover_every_name_about_equally(size):
    names, sets = list("abcde"), windows(list("abcde"), size, 3)
    counts = [sum(name in chosen for chosen in sets) for name in names]
    assert all(len(set(chosen)) == size for chosen in sets)
    assert max(counts) - min(counts) <= 1
    assert len(sets) == (1 if size == 5 else 3)


def test_windows_refuse_a_size_that_does_not_exist():
    with pytest.raises(ValueError, match="6 of 5"):
        windows(list("abcde"), 6, 2)


def test_the_best_scale_is_the_smaller_of_two_equals():
    sweep = pd.DataFrame({"a": [0.5, 0.8, 0.7], "b": [0.5, 0.6, 0.7]}, index=[0.0, 0.3, 0.6])
    assert best_scale(sweep) == 0.3


def test_scale_zero_is_the_base_and_one_task_at_scale_one_is_its_expert(bench):
    merge = lambda scale: ml.merging.task_arithmetic(bench.tv["bars"], scale)  # noqa: E731
    sweep = bench.sweep(merge, [0.0, 1.0])
    base, expert = bench.evaluate(), bench.evaluate(bench.expert("bars"))
    assert sweep.loc[0.0].tolist() == base["accuracy"].tolist()
    assert sweep.loc[1.0].tolist() == expert["accuracy"].tolist()


def test_merging_one_task_keeps_all_of_its_expert(bench):
    expert = {
        n: bench.evaluate(bench.expert(n), tasks=[n])["accuracy"][0] for n in bench.suite.names
    }
    grown = transfer.growth(bench, expert, [1.0], sets=3, val_limit=40, test_limit=None)
    alone = grown[grown["tasks"] == 1]
    assert sorted(alone["task"]) == sorted(bench.suite.names)
    assert alone["normalised"].tolist() == pytest.approx([1.0] * 3)
    together = grown[grown["tasks"] == 3]
    merged = bench.evaluate(ml.merging.task_arithmetic(bench.tv, 1.0), expert=expert)
    assert together["accuracy"].tolist() == merged["accuracy"].tolist()


def test_negation_keeps_the_control_tasks_or_does_nothing(bench):
    found = transfer.negation(bench, [0.2, 0.6, 1.0], keep=0.95)
    for row in found.itertuples():
        val_base = bench.evaluate(split="val").set_index("task")["accuracy"]
        tau = bench.tv[row.task].deltas[0]
        val = bench.evaluate(bench.tv.base - row.scale * tau, split="val").set_index("task")
        others = val["accuracy"].drop(row.task).mean()
        assert others >= 0.95 * val_base.drop(row.task).mean() - 1e-9
        assert val["accuracy"][row.task] <= val_base[row.task]


def test_the_loss_plane_holds_the_losses_of_its_corners(bench):
    plane = planes.loss_plane(bench, ["bars", "spots"], start=0.0, stop=1.0, num=2, limit=30)
    for i, j, vector in [
        (0, 0, bench.tv.base),
        (1, 0, bench.expert("bars")),
        (1, 1, bench.tv.base + bench.tv[["bars", "spots"]].sum()),
    ]:
        state = dict(bench.tv.layout.unflatten(vector))
        data = bench.suite["spots"].val.take(30)
        features = ml.evaluation.encode(bench.encoder, data.inputs.values, state)
        p = torch.softmax(bench.heads["spots"](features), dim=1)
        expected = -p[torch.arange(30), data.labels].log().mean()
        assert plane.loss[1, i, j] == pytest.approx(float(expected), rel=1e-4)


def test_borrowed_vectors_never_include_the_tasks_own(bench):
    lent = transfer.borrowed(bench, ["digits", "spots"], [0.5, 1.0]).set_index("task")
    assert lent.loc["digits", "sources"] == "spots"
    scale = lent.loc["digits", "scale"]
    vector = bench.tv.base + scale * bench.tv["spots"].deltas[0]
    expected = bench.evaluate(vector, tasks=["digits"])["accuracy"][0]
    assert lent.loc["digits", "borrowed"] == pytest.approx(expected)


def test_block_norms_and_cosines_agree_with_slices(bench):
    names, norms, cosines = geometry.by_depth(bench.tv)
    assert len(names) == len(norms) == len(cosines)
    total = np.sqrt((norms**2).sum(axis=0))
    assert total == pytest.approx(bench.tv.deltas.double().norm(dim=1).numpy(), rel=1e-6)


def test_the_closest_pair_is_named():
    cosines = torch.tensor([[1.0, 0.1, 0.4], [0.1, 1.0, -0.9], [0.4, -0.9, 1.0]])
    assert geometry.closest_pair(cosines, ("a", "b", "c")) == "a and c"
    assert sorted(geometry.off_diagonal(cosines)) == pytest.approx([-0.9, 0.1, 0.4])


def test_a_random_method_reports_the_mean_and_spread_over_seeds(bench):
    def merge(scale, seed):
        return ml.merging.dare(bench.tv, drop=0.5, scale=scale, seed=seed)

    found = comparison.tune(bench, merge, [0.3], seeds=[0, 1, 2])
    tables = [bench.evaluate(merge(0.3, s)) for s in (0, 1, 2)]
    means = [table["accuracy"].mean() for table in tables]
    assert found.scale == 0.3 and found.mean == pytest.approx(np.mean(means))
    assert found.deviation == pytest.approx(np.std(means))
    for column in ("accuracy", "low", "high"):
        expected = sum(table[column] for table in tables) / 3
        assert found.table[column].tolist() == expected.tolist()


def test_labels_are_spread_without_changing_their_order():
    heights = np.array([1.0, 1.5, 2.0, 50.0])
    moved = spread(heights, 4.0)
    assert moved.tolist() == [1.0, 5.0, 9.0, 50.0]
    assert spread(np.array([0.0, 10.0]), 4.0).tolist() == [0.0, 10.0]


def test_forgetting_compares_the_base_on_the_same_inputs():
    base = Result({"a": torch.tensor([1, 1, 0, 0]) > 0, "z": torch.tensor([1, 1, 1, 0]) > 0})
    expert = Result({"a": torch.ones(4) > 0, "z": torch.tensor([1, 0]) > 0})
    other = Result({"a": torch.tensor([1, 1]) > 0, "z": torch.ones(4) > 0})
    lost = transfer.forgotten({"base": base, "a": expert, "z": other})
    assert lost.to_dict() == {"a": 0.5, "z": 0.0}
