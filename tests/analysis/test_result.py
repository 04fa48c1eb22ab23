"""A result: its tables, its mean with an interval, and its way into a file and back."""

import json

import pandas as pd
import pytest
import torch

from mergelib.analysis.comparison import summary
from mergelib.analysis.result import Result, restored, stored
from mergelib.intervals import mean_interval, wilson_interval
from mergelib.study.results import plain

SWEEP = pd.DataFrame(
    {"z": [0.5, 1 / 3], "a": [0.25, 0.75]}, index=pd.Index([0.1, 0.3], name="scale")
)


def bits(n: int, seed: int = 0, seeds: int | None = None) -> torch.Tensor:
    shape = (n,) if seeds is None else (seeds, n)
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.6


def test_a_table_counts_what_is_right():
    result = Result({"z": torch.tensor([True, False, True]), "a": torch.tensor([False])})
    assert result.table["task"].tolist() == ["z", "a"]
    assert result.table["correct"].tolist() == [2, 0] and result.table["n"].tolist() == [3, 1]
    low, high = wilson_interval(2, 3)
    assert result.table.loc[0, ["accuracy", "low", "high"]].tolist() == [2 / 3, low, high]
    assert result.by_task == {"z": 2 / 3, "a": 0.0}
    assert (result.mean, *result.interval) == mean_interval(result.table)
    assert result.deviation == 0


def test_of_several_seeds_a_table_has_means_and_keeps_their_deviation():
    result = Result({"z": torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]]).bool()})
    (row,) = result.table.itertuples()
    assert (row.n, row.correct, row.accuracy) == (4, 2, 0.5)
    assert row.low == (wilson_interval(3, 4)[0] + wilson_interval(1, 4)[0]) / 2
    assert result.deviation == pytest.approx(0.25)


@pytest.mark.parametrize("n", [1, 7, 8, 250])
def test_a_stored_result_comes_back_through_json_as_it_was(n):
    results = {
        "ties": Result({"z": bits(n), "a": bits(n + 1, 1)}, 0.3, SWEEP),
        "dare": Result({"z": bits(n, 2, 3)}, 0.1),
        "wemoe": Result({"z": bits(n, 3, 1)}),
    }
    written = json.dumps(plain(stored(results)), sort_keys=True, allow_nan=False)
    back = restored(json.loads(written))
    assert set(back) == set(results)
    for key, result in results.items():
        found = back[key]
        assert list(found.right) == list(result.right) and found.scale == result.scale
        assert all(torch.equal(found.right[task], right) for task, right in result.right.items())
        assert all(right.dtype == torch.bool for right in found.right.values())
    pd.testing.assert_frame_equal(back["ties"].sweep, SWEEP)
    assert back["wemoe"].sweep is None


def test_a_record_that_was_changed_is_named():
    record = stored({"ties": Result({"z": bits(20)})})
    record["ties"]["tasks"][0]["correct"] += 1
    with pytest.raises(ValueError, match="ties on z: .* of 20 inputs should be right"):
        restored(record)


def test_a_summary_measures_each_method_by_its_experts():
    result = Result({"a": torch.arange(10) < 5, "b": torch.arange(10) < 6}, 0.1)
    row = summary({"ties": result}, {"a": 1.0, "b": 0.8}).loc["ties"]
    assert row["normalised"] == pytest.approx((0.5 + 0.75) / 2)
    assert (row["λ"], row["worst task"], row["its accuracy"]) == (0.1, "a", 0.5)
    assert row["mean"] == pytest.approx(0.55)


def test_the_first_inputs_of_a_result():
    few = Result({"a": torch.tensor([1, 0, 1]) > 0, "b": torch.tensor([1, 1, 0]) > 0}, 0.3).first(2)
    assert few.scale == 0.3 and few.by_task == {"a": 0.5, "b": 1.0}
    seeds = Result({"a": torch.tensor([[1, 0, 0], [1, 1, 0]]) > 0}).first(2)
    assert seeds.right["a"].shape == (2, 2) and seeds.by_task == {"a": 0.75}
