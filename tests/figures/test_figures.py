"""Figures of the chapters on interference: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from drawn import lines
from matplotlib.patches import Arc, Circle

from mergelib import figures
from mergelib.analysis.planes import DisentanglementMap
from mergelib.analysis.result import Result
from mergelib.figures.awd import ELEVATION, _azimuth
from mergelib.figures.style import METHOD_STYLES
from mergelib.methods.titles import name_of, title_of

pytestmark = pytest.mark.usefixtures("book_style")

TASKS = ("a", "b", "c")


def texts(axis):
    return [text.get_text() for text in axis.texts if text.get_text()]


@pytest.fixture
def gaps():
    numbers = {"gap": [0.3, -0.1, 0.2], "predicted": [0.1, 0.0, 0.15], "crude": [-0.05, 0.02, 0.0]}
    return pd.DataFrame({"task": TASKS, **numbers, "error": [0.1, 0.05, 0.02]})


def test_a_dot_for_each_task_and_prediction(gaps):
    figure = figures.gap_dots(gaps)
    (axis,) = figure.axes
    drawn = lines(axis)
    assert drawn["predicted by the gradient"][0].tolist() == gaps["predicted"].tolist()
    assert (
        drawn["predicted by inner products of task vectors"][0].tolist() == gaps["crude"].tolist()
    )
    (measured,) = axis.containers
    assert measured.lines[0].get_xdata().tolist() == gaps["gap"].tolist()
    (bars,) = measured.lines[2]
    spans = [segment[1, 0] - segment[0, 0] for segment in bars.get_segments()]
    assert spans == pytest.approx(2 * 1.959964 * gaps["error"])
    legend = [text.get_text() for text in axis.get_legend().texts]
    assert legend[0] == "measured (95 % interval)" and len(legend) == 3
    assert "nats" in axis.get_xlabel()


def test_pairs_lie_at_predicted_and_measured_and_the_farthest_are_named():
    pairs = pd.DataFrame(
        {
            "task": ["a", "a", "b", "b"],
            "other": ["b", "c", "a", "c"],
            "measured": [0.1, 0.5, 0.2, -0.1],
            "predicted": [0.1, 0.1, 0.15, -0.4],
            "crude": [0.0, -0.1, -0.2, 0.1],
            "error": 0.01,
            "cosine": [0.1, 0.2, 0.1, -0.05],
        }
    )
    figure = figures.interference_scatter(pairs, named=2)
    left, right = figure.axes[:2]
    for axis, column in ((left, "predicted"), (right, "crude")):
        dots = next(c for c in axis.collections if c.get_array() is not None)
        assert dots.get_offsets().tolist() == pairs[[column, "measured"]].to_numpy().tolist()
        assert dots.get_array().tolist() == pairs["cosine"].tolist()
        assert any(getattr(line, "get_slope", lambda: None)() == 1 for line in axis.lines)
    assert sorted(texts(left)) == ["a ← c", "b ← c"] and not texts(right)


def test_curves_are_means_over_tasks(gaps):
    by_scale = pd.concat([gaps.assign(scale=s, gap=s * gaps["gap"]) for s in (0.1, 0.5)])
    by_count = pd.concat([gaps.assign(tasks=3, set="a"), gaps[:2].assign(tasks=2, set="a")])
    left, right = figures.gap_curves(by_scale, by_count).axes
    x, y = lines(left)["measured, mean"]
    assert x.tolist() == [0.1, 0.5]
    assert y == pytest.approx([0.1 * 0.4 / 3, 0.5 * 0.4 / 3])
    x, y = lines(right)["predicted by the gradient, mean"]
    assert x.tolist() == [2, 3]
    assert y == pytest.approx([0.05, 0.25 / 3])


def test_maps_share_one_colour_scale_and_mark_the_unit_square():
    alphas = np.linspace(-1, 2, 4)
    maps = {
        name: DisentanglementMap(pair, alphas, np.full((2, 4, 4), level) * np.eye(4))
        for name, pair, level in (("friends", ("a", "b"), 0.05), ("foes", ("c", "d"), 0.6))
    }
    figure = figures.disentanglement_maps(maps)
    first, second, bar = figure.axes
    for axis in (first, second):
        (filled,) = axis.collections
        assert filled.levels.tolist() == pytest.approx(np.arange(0, 1.3, 0.2))
        assert axis.lines[0].get_xydata().tolist() == [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    assert (first.get_title(), second.get_title()) == ("friends", "foes")
    assert (second.get_xlabel(), second.get_ylabel()) == ("α of c", "α of d")
    assert "0 to 2" in bar.get_ylabel()


FLAT = np.array([[2.6, 0.5], [1.3, 1.9]])
SOLID = np.linalg.cholesky(0.6 * np.eye(3) + 0.4)


def nearest_right_angle(points):
    centre = points.mean(axis=0)
    radius = np.linalg.norm(points[0] - points[1]) / 2
    return centre * (1 - radius / np.linalg.norm(centre))


def equal_cosine_delta(points):
    m = (1 + 2 * 0.4) / 3  # three unit vectors of cosine 0.4, see test_awd_search.py
    return (1 - (1 - 0.4 / m) ** 0.5) * points.mean(axis=0)


def test_angles_are_computed_from_the_points():
    delta = nearest_right_angle(FLAT)
    figure = figures.right_angle_figure(FLAT, delta, SOLID, equal_cosine_delta(SOLID))
    plane, space = figure.axes
    cosine = FLAT[0] @ FLAT[1] / np.prod(np.linalg.norm(FLAT, axis=1))
    assert f"{np.degrees(np.arccos(cosine)):.0f}°" in texts(plane)
    assert {"90°", "τ₁", "τ₂", "δ", "θ₀"} <= set(texts(plane))
    assert space.get_title() == "three: angles 66°, 66°, 66° from θ₀,\n90°, 90°, 90° from δ"
    (circle,) = (p for p in plane.patches if isinstance(p, Circle))
    for point in (*FLAT, delta):
        assert np.linalg.norm(point - circle.center) == pytest.approx(circle.radius)
    arcs = [p for p in plane.patches if isinstance(p, Arc)]
    assert [round(a.theta2 - a.theta1) for a in arcs] == [45, 90]


def test_arcs_lie_between_the_vectors_where_directions_pass_half_a_turn():
    flat = np.array([[-2.0, 0.9], [-2.0, -0.9]])
    figure = figures.right_angle_figure(flat, [-1.1, 0.0], SOLID, np.zeros(3))
    arcs = [p for p in figure.axes[0].patches if isinstance(p, Arc)]
    assert [round(a.theta2 - a.theta1) for a in arcs] == [48, 90]


@pytest.mark.parametrize("turn", range(0, 360, 45))
def test_the_eye_is_where_rays_do_not_cover_each_other(turn):
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    solid = SOLID @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    rays = np.vstack([solid, equal_cosine_delta(solid)])
    e, a = np.radians(ELEVATION), np.radians(_azimuth(rays))
    eye = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    flat = rays - np.outer(rays @ eye, eye)
    assert (np.linalg.norm(flat, axis=1) > 0.3 * np.linalg.norm(rays, axis=1)).all()
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    cosines = (flat @ flat.T)[np.triu_indices(4, 1)]
    assert cosines.max() < np.cos(np.radians(15))


def test_points_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"solid_delta must be of shape \(3,\), not \(2,\)"):
        figures.right_angle_figure(FLAT, FLAT[0], SOLID, np.zeros(2))


def test_descents_and_the_exact_point_share_a_logarithmic_time_axis():
    descent = ([0.0, 0.5, 1.0], [0.05, 0.04, 0.03])
    (axis,) = figures.objective_curve({"descent": descent}, (0.004, 0.02)).axes
    assert axis.get_xscale() == "log"
    assert lines(axis)["descent"][0].tolist() == [0.5, 1.0]
    x, y = lines(axis)["exact"]
    assert (x.tolist(), y.tolist()) == ([0.004], [0.02])
    assert texts(axis) == ["4 ms"]


def test_methods_keep_their_colours_and_variants_differ_in_line():
    sweep = pd.DataFrame({"a": [0.5, 0.7], "b": [0.5, 0.8]}, index=[0.0, 0.3])
    chosen = {
        "task_arithmetic": 0.3,
        "awd_task_arithmetic": 0.0,
        "awd_task_arithmetic, row": 0.3,
    }
    results = {key: Result({}, scale, sweep) for key, scale in chosen.items()}
    (axis,) = figures.scale_curves(results).axes
    drawn = {line.get_label(): line for line in axis.lines}
    for key in chosen:
        line = drawn[title_of(key)]
        assert line.get_color() == METHOD_STYLES[name_of(key)][0]
        assert line.get_ydata().tolist() == pytest.approx([50, 75])
    one, two = (drawn[f"AWD + task arithmetic{variant}"] for variant in ("", ", row"))
    assert one.get_linestyle() != two.get_linestyle()
    rings = [line.get_xydata()[0] for line in axis.lines if line.get_label().startswith("_")]
    assert np.array(rings) == pytest.approx(np.array([[0.3, 75], [0.0, 50], [0.3, 75]]))


def test_depth_is_in_per_cent_of_each_group():
    names = ["embeddings", "block 0", "head"]
    share = {"model": [0.1, 0.2, 0.3], "tensor": [0.0, 0.5, 0.1]}
    (axis,) = figures.redundant_by_depth(names, share).axes
    assert lines(axis)["tensor"][1] == pytest.approx([0, 50, 10])
    assert [tick.get_text() for tick in axis.get_xticklabels()] == names


def test_the_parts_of_the_gap_are_drawn_as_given():
    numbers = {"odd": [-0.3, 0.1, 0.2], "even": [0.5, 0.4, 0.0], "gap": [0.2, 0.5, 0.2]}
    figure = figures.reversal_dots(pd.DataFrame({"task": TASKS, **numbers}))
    (axis,) = figure.axes
    drawn = lines(axis)
    assert drawn["reversed with the vectors (slope)"][0].tolist() == numbers["odd"]
    assert drawn["the same both ways (curvature)"][0].tolist() == numbers["even"]
    assert drawn["gap, their sum"][0].tolist() == numbers["gap"]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(TASKS)
