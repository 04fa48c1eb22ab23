"""Figures of the chapters on mixtures: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from drawn import lines

from mergelib import figures
from mergelib.analysis.planes import LossPlane

pytestmark = pytest.mark.usefixtures("book_style")

TASKS = ["ants", "bees", "cats"]


def table(numbers):
    return pd.DataFrame(numbers, TASKS, TASKS)


def test_routing_maps_share_one_scale_that_is_white_at_zero():
    parts = {"block 0": table(np.eye(3)), "block 1": table(-2.0 * np.eye(3))}
    figure = figures.routing_maps(parts)
    images = [axis.collections[0] for axis in figure.axes[:2]]
    assert [axis.get_title() for axis in figure.axes[:2]] == list(parts)
    for image, numbers in zip(images, parts.values(), strict=True):
        assert np.array_equal(image.get_array(), numbers.to_numpy())
        assert image.get_clim() == (-2.0, 2.0)


def test_maps_of_zeros_can_be_drawn():
    figure = figures.routing_maps({"block 0": table(np.zeros((3, 3)))})
    assert figure.axes[0].collections[0].get_clim()[1] > 0


def test_first_choices_are_shares_in_per_cent():
    matrix = table([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    own = pd.DataFrame([[0.4, 0.6], [1.0, 1.0], [0.7, 0.5]], TASKS, ["block 0", "block 1"])
    left, right = figures.first_choices(matrix, own).axes
    numbers = [float(text.get_text()) for text in left.texts]
    assert numbers == [50, 25, 25, 0, 100, 0, 20, 20, 60]
    drawn = lines(right)
    assert drawn["mean of the tasks"][1].tolist() == pytest.approx([70, 70])
    assert drawn["chance"][1][0] == pytest.approx(100 / 3)
    assert sorted(text.get_text() for text in right.texts) == TASKS


def test_a_plane_shows_several_points_under_one_label():
    alphas = np.linspace(0, 1, 3)
    plane = LossPlane(("ants", "bees"), alphas, np.arange(18.0).reshape(2, 3, 3))
    points = {
        "own": (((0.0, 1.0), (1.0, 0.5)), "expert"),
        "both": ((0.5, 0.5), "task_arithmetic"),
    }
    axis = figures.loss_plane(plane, points).axes[0]
    drawn = lines(axis)
    assert drawn["own"][0].tolist() == [0.0, 1.0] and drawn["own"][1].tolist() == [1.0, 0.5]
    assert drawn["both"][0].tolist() == [0.5]


def test_the_layer_is_drawn_with_its_parts():
    texts = [text.get_text() for text in figures.mixture_schematic().axes[0].texts]
    assert any("router" in text for text in texts) and any("MLP" in text for text in texts)
