"""Where tensors lie, and what masks over them keep, against hand-made cases and slow versions."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from toys import SHAPES, random_state, toy_bench

from mergelib import Layout
from mergelib.adaptation import relaxed_mask
from mergelib.analysis import geometry, masks
from mergelib.workbench import Workbench


@pytest.fixture(scope="module")
def bench():
    (encoder, heads, suite), tv = toy_bench()
    return Workbench(suite, encoder, heads, tv)


@pytest.fixture(scope="module")
def layout():
    return Layout.from_state(random_state(0))


def test_tensors_are_placed_by_block_and_kind(layout):
    table = geometry.places(layout).set_index("tensor")
    name = "visual.transformer.resblocks.10.mlp.c_fc.weight"
    assert table.loc[name].tolist() == ["10", "mlp.c_fc.weight", 32]
    assert table.loc["visual.conv1.weight", ["block", "kind"]].tolist() == [
        "embeddings",
        "visual.conv1.weight",
    ]
    assert table.loc["visual.proj", "block"] == "head"
    assert table["weights"].sum() == layout.size and len(table) == len(SHAPES)


def test_tables_are_arranged_by_depth(layout):
    means = geometry.tensor_means(layout, torch.arange(layout.size, dtype=torch.float64))
    for name, start, stop in zip(layout.names, layout.offsets, layout.offsets[1:], strict=False):
        if stop > start:
            assert means[name] == pytest.approx((start + stop - 1) / 2)
    numbers = pd.DataFrame([range(len(layout.names))], ["a"], layout.names)
    blocks = geometry.by_block(layout, numbers)
    assert blocks.columns.tolist() == ["embeddings", "0", "2", "10", "head"]
    zero = [i for i, name in enumerate(layout.names) if "resblocks.0." in name]
    assert blocks.loc["a", "0"] == np.mean(zero)
    kinds = geometry.by_kind(layout, range(len(layout.names)))
    assert kinds.columns.tolist() == ["0", "2", "10"]
    fc = layout.names.index("visual.transformer.resblocks.2.mlp.c_fc.weight")
    assert kinds.loc["mlp.c_fc.weight", "2"] == fc and np.isnan(kinds.loc["mlp.c_fc.weight", "0"])


@pytest.mark.parametrize(("logit", "temperature"), [(0.0, 1.0), (1.5, 0.5), (-1.0, 0.3)])
def test_the_density_is_that_of_the_draws(logit, temperature):
    def density(m):
        return masks.relaxed_density(m, logit, temperature)

    edges = np.linspace(0.1, 0.9, 9)
    mass = [quad(density, a, b)[0] for a, b in zip(edges, edges[1:], strict=False)]
    draws = 200_000
    u = np.random.default_rng(1).random(draws)
    m = 1 / (1 + np.exp(-(logit + np.log(u) - np.log1p(-u)) / temperature))
    counts = np.histogram(m, edges)[0]
    assert counts / draws == pytest.approx(mass, abs=5 * (0.25 / draws) ** 0.5)


def test_at_temperature_one_and_logit_zero_all_values_are_equally_likely():
    assert masks.relaxed_density([0.01, 0.5, 0.99], 0.0, 1.0) == pytest.approx([1, 1, 1])
    with pytest.raises(ValueError, match="temperature must be above 0, not 0"):
        masks.relaxed_density(0.5, 0.0, 0)


def test_what_is_kept_is_counted_by_tensor(layout):
    logits = torch.full((layout.size,), -2.0)
    start = layout.offsets[layout.names.index("visual.conv1.weight")]
    logits[start : start + 12] = 2.0
    table = masks.kept_by_tensor(layout, logits).set_index("tensor")
    high, low = 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))
    assert table.loc["visual.conv1.weight", "kept"] == 12 / 48
    assert table.loc["visual.conv1.weight", "probability"] == pytest.approx(
        (12 * high + 36 * low) / 48
    )
    assert table.loc["visual.proj", "kept"] == 0


def test_magnitudes_are_ranked_within_each_tensor():
    state = {"a": torch.zeros(4), "b": torch.zeros(2, 2), "tiny": torch.zeros(1)}
    layout = Layout.from_state(state)
    direction = torch.tensor([1.0, -4, 2, 3, 100, -400, 300, 200, 9999])
    logits = torch.tensor([-1.0, 1, -1, 1, -1, 1, 1, -1, 1]) * 30
    found = masks.kept_by_magnitude(layout, logits, direction, bins=2)
    assert found["n"].tolist() == [4, 4]
    assert found["probability"].tolist() == pytest.approx([0, 1], abs=1e-9)
    total = 30 * (1 + 1e4)
    assert found["share"].tolist() == pytest.approx([5 * (1 + 1e4) / total, 25 * (1 + 1e4) / total])
    nothing = masks.kept_by_magnitude(layout, logits, 0 * direction, bins=2)
    assert nothing["share"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="at least 2 groups"):
        masks.kept_by_magnitude(layout, logits, direction, bins=1)


def test_masked_experts_are_measured_on_their_own_tasks(bench):
    layout = bench.tv.layout
    mask = relaxed_mask(torch.zeros(layout.size), layout, 0.5, torch.Generator().manual_seed(0))
    none = torch.zeros(layout.size)
    table = masks.masked_experts(bench, mask, {"base": none}, limit=20).set_index("task")
    for task, delta in zip(bench.tv.tasks, bench.tv.deltas, strict=True):
        options = {"tasks": [task], "limit": 20}
        base = bench.tv.base
        expected = [
            bench.evaluate(vector, **options)["accuracy"][0]
            for vector in (base + delta, base + mask * delta, base)
        ]
        assert table.loc[task, ["expert", "masked", "base"]].tolist() == pytest.approx(expected)
    assert set(table["n"]) == {20}
