"""Figures of cost: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest

from mergelib import figures
from mergelib.figures.style import METHOD_STYLES

pytestmark = pytest.mark.usefixtures("book_style")


def curve(**more):
    return pd.DataFrame({"kept": [0.0, 0.1, 1.0], "accuracy": [0.2, 0.5, 0.6], **more})


def test_share_curves_leave_out_nothing_but_the_share_of_zero():
    measured = curve(low=[0.1, 0.4, 0.5], high=[0.3, 0.7, 0.7])
    panels = {
        "here": {"ewemoe": measured},
        "there": {"ewemoe, B/32": curve(), "ewemoe, L/14": curve()},
    }
    levels = {"here": {"wemoe": 0.65}}
    figure = figures.share_curves(panels, "kept", "kept share", levels)
    here, there = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["here", "there"]
    assert here.get_xscale() == "log" and here.get_xlabel() == "kept share"
    (line, _, (bars,)) = here.containers[0]
    assert line.get_xdata().tolist() == [0.1, 1.0]
    np.testing.assert_allclose(line.get_ydata().astype(float), [50, 60])
    np.testing.assert_allclose([b[:, 1] for b in bars.get_segments()], [[40, 70], [50, 70]])
    assert any(np.allclose(level.get_ydata(), 65) for level in here.lines)
    two = [container[0] for container in there.containers]
    assert two[0].get_color() == two[1].get_color() == METHOD_STYLES["ewemoe"][0]
    assert two[0].get_linestyle() != two[1].get_linestyle()
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["E-WEMoE", "WEMoE", "E-WEMoE, B/32", "E-WEMoE, L/14"]


def test_a_frontier_joins_its_rows_and_names_each_method_once():
    table = pd.DataFrame(
        {
            "accuracy": [0.5, 0.6, 0.7],
            "low": 0.45,
            "high": 0.75,
            "stored": [1e6, 2e6, 4e6],
            "multiply-adds": [3e6, 3e6, 5e6],
        },
        ["ties", "ewemoe, 0.1 kept", "ewemoe, 0.3 kept"],
    )
    fronts = {"stored": table, "multiply-adds": table.iloc[1:]}
    figure = figures.cost_frontier(table, fronts)
    for axis, x, best in zip(figure.axes, ([1, 2, 4], [3, 3, 5]), ([1, 2, 4], [3, 5]), strict=True):
        assert axis.lines[0].get_xdata().tolist() == best
        ties, ewemoe = (container[0] for container in axis.containers)
        assert [*ties.get_xdata(), *ewemoe.get_xdata()] == x
        np.testing.assert_allclose(ewemoe.get_ydata().astype(float), [60, 70])
        assert ties.get_marker() == METHOD_STYLES["ties"][1]
        assert axis.get_xscale() == "log" and axis.get_xlabel().endswith("(millions)")
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["E-WEMoE", "TIES", "none better at the cost"]
