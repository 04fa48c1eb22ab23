"""Figures of the chapters on learning without labels: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from drawn import lines

from mergelib import figures
from mergelib.figures.style import DIVERGING, METHOD_STYLES
from mergelib.methods.titles import title_of

pytestmark = pytest.mark.usefixtures("book_style")


def rings(axis):
    """The points without a label: what is ringed."""
    hidden = [line for line in axis.lines if line.get_label().startswith("_")]
    return [tuple(line.get_xydata()[0]) for line in hidden if len(line.get_xydata()) == 1]


def test_entropy_and_loss_are_means_over_tasks_with_their_minima():
    by_scale = pd.DataFrame(
        {
            "scale": [0.0, 0.0, 0.3, 0.3],
            "task": ["a", "b"] * 2,
            "entropy": [1.0, 3.0, 1.0, 0.5],
            "loss": [1.0, 2.0, 2.0, 4.0],
        }
    )
    bins = pd.DataFrame({"entropy": [0.1, 0.9], "loss": [0.2, 2.0], "n": 5})
    left, right = figures.entropy_and_loss(by_scale, bins).axes
    drawn = lines(left)
    assert drawn["entropy"][1].tolist() == [2.0, 0.75]
    assert drawn["loss (needs labels)"][1].tolist() == [1.5, 3.0]
    assert sorted(rings(left)) == [(0.0, 1.5), (0.3, 0.75)]
    assert lines(right)["a tenth of the inputs"][1].tolist() == [0.2, 2.0]


def curve(stages=None):
    places = {"step": [0, 5, 9], "passes": [0, 10, 14], "seconds": [0.0, 2.0, 2.5]}
    table = pd.DataFrame({**places, "accuracy": [0.5, 0.6, 0.7]})
    return table if stages is None else table.assign(stage=stages)


def test_runs_of_one_method_differ_in_their_lines_and_a_second_stage_has_a_ring():
    staged = curve(["mask", "coefficients", "coefficients"])
    curves = {"concrete_adamerging, one": curve(), "concrete_adamerging, two": staged}
    levels = {"task_arithmetic": 0.4}
    figure = figures.learning_curves(curves, ("passes", "seconds"), levels)
    titles = [title_of(key) for key in curves]
    for axis, x in zip(figure.axes, ([0, 10, 14], [0.0, 2.0, 2.5]), strict=True):
        drawn = lines(axis)
        for label in titles:
            assert drawn[label][0].tolist() == x
            assert drawn[label][1].tolist() == pytest.approx([50, 60, 70])
        assert drawn["Task arithmetic"][1].tolist() == [40, 40]
        assert rings(axis) == [(x[1], pytest.approx(60))]
        one, two = (next(k for k in axis.lines if k.get_label() == n) for n in titles)
        assert one.get_color() == two.get_color() == METHOD_STYLES["concrete_adamerging"][0]
        assert one.get_linestyle() != two.get_linestyle()


def test_paths_are_means_of_each_task_and_the_band_holds_nine_tenths():
    path = np.random.default_rng(0).normal(size=(4, 2, 50))
    left, right = figures.coefficient_paths({"task": path[:, :, :1], "tensor": path}, "ab").axes
    assert lines(right)["b"][1] == pytest.approx(path[:, 1].mean(axis=1))
    assert lines(left)["a"][1] == pytest.approx(path[:, 0, 0])
    (band,) = right.collections
    edges = band.get_paths()[0].vertices
    low, high = np.quantile(path[2], [0.05, 0.95])
    assert sorted({round(y, 9) for x, y in edges if x == 2}) == pytest.approx([low, high])
    assert not left.collections


def test_maps_share_colours_that_diverge_from_the_start():
    blocks = pd.DataFrame([[0.1, 0.3]], ["a"], ["embeddings", "0"])
    kinds = pd.DataFrame([[0.05], [np.nan]], ["ln.weight", "fc.weight"], ["0"])
    left, right, _ = figures.coefficient_maps(blocks, kinds, 0.1).axes
    for axis, table in ((left, blocks), (right, kinds)):
        (cells,) = axis.collections
        assert np.ma.filled(cells.get_array(), np.nan) == pytest.approx(
            table.to_numpy(), nan_ok=True
        )
        assert cells.get_clim() == pytest.approx((-0.1, 0.3))
        assert cells.get_cmap().name == DIVERGING
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["embeddings", "0"]


def test_changes_are_labelled_by_task():
    changes = pd.DataFrame({"task": ["a", "b"], "entropy": [-0.2, 0.1], "accuracy": [0.05, -0.1]})
    (axis,) = figures.sure_and_right(changes).axes
    points = next(line for line in axis.lines if line.get_marker() == "o")
    assert points.get_xydata() == pytest.approx(np.array([[0.1, -10], [-0.2, 5]]))
    assert [(t.get_text(), t.xy[0]) for t in axis.texts] == [("b", 0.1), ("a", -0.2)]


def test_two_sets_of_coefficients_name_the_axes():
    pairs = pd.DataFrame({"task": ["a", "a", "b"], "old": [1.0, 2, 3], "new": [3.0, 2, 2]})
    (axis,) = figures.coefficients_compared(pairs, "old", "new").axes
    assert lines(axis)["a"][1].tolist() == [3, 2]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("λ of old", "λ of new")


def test_equal_labels_of_two_sources_have_equal_lines():
    ours = {"adamerging, tensor-wise": curve(["a", "a", "b"])}
    paper = {
        "adamerging, task-wise": curve(),
        "adamerging, tensor-wise": curve(),
        "concrete_adamerging": curve(),
    }
    left, right = figures.curves_beside({"published": paper, "ours": ours}).axes
    looks = [(k.get_color(), k.get_linestyle()) for k in left.lines]
    assert len(set(looks)) == 3
    assert (right.lines[0].get_color(), right.lines[0].get_linestyle()) == looks[1]
    assert rings(right) == [(9, pytest.approx(70))]
    assert (left.get_title(), right.get_title()) == ("published", "ours")


def test_densities_are_drawn_as_given():
    m = [0.2, 0.5, 0.8]
    panels = {"cold": {"x = 0": [3, 1, 3]}, "warm": {"x = 0": [1, 1, 1], "x = 1": [0.5, 1, 2]}}
    first, second = figures.relaxed_densities(m, panels).axes
    assert lines(first)["x = 0"][1].tolist() == [3, 1, 3]
    assert lines(second)["x = 1"][0].tolist() == m


def test_the_mask_is_shown_by_place_and_by_magnitude():
    kinds = pd.DataFrame([[0.4, 0.6]], ["fc.weight"], ["0", "1"])
    sizes = pd.DataFrame({"group": [1, 2], "probability": [0.4, 0.7]})
    left, right, _ = figures.mask_map(kinds, sizes).axes
    assert left.collections[0].get_array().tolist() == [[0.4, 0.6]]
    assert lines(right)["learnt mask"][1].tolist() == [0.4, 0.7]


def test_masked_experts_are_points_in_the_row_of_their_task():
    table = pd.DataFrame({"task": ["a", "b"], "expert": [0.9, 0.8], "masked": [0.7, 0.8]})
    (axis,) = figures.expert_masks(table, {"masked": "with a mask"}).axes
    assert lines(axis)["with a mask"][0] == pytest.approx([70, 80])
    assert lines(axis)["expert"][1].tolist() == [0, 1]
