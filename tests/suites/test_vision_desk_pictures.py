"""The simulated camera of the vision-desk suite: poses, light, lens, sensor, split labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelib.suites.vision_desk.board import Board
from mergelib.suites.vision_desk.camera import Pose, pixel_grid, project, random_homographies, warp
from mergelib.suites.vision_desk.lighting import Light, relight
from mergelib.suites.vision_desk.scene import Shot, photograph
from mergelib.suites.vision_desk.sensor import Sensor, blur_kernels, expose
from mergelib.suites.vision_desk.splits import balanced_labels, split_generator
from mergelib.suites.vision_desk.wear import weathered

STILL = Pose(scale=(1.0, 1.0), degrees=0, aspect=1, shear=0, tilt=0, shift=0)
EVEN = Light((1.0, 1.0), cast=0, gradient=0, shadow=0, contrast=(1.0, 1.0))
SHARP = Sensor(blur=(0.0, 0.0), motion=(0.0, 0.0), noise=(0.0, 0.0))


def rng(seed=0):
    return np.random.default_rng(seed)


def smooth_pictures(n=3, size=24):
    x, y = pixel_grid(size).unbind(-1)
    waves = torch.stack([0.5 + 0.3 * torch.sin(2 * x + k) * torch.cos(2 * y) for k in range(3 * n)])
    return waves.reshape(n, 3, size, size)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 300), st.integers(1, 40), st.integers(0, 99))
def test_labels_are_balanced(n, n_classes, seed):
    labels = balanced_labels(n, n_classes, rng(seed))
    counts = np.bincount(labels, minlength=n_classes)
    assert len(labels) == n and counts.max() - counts.min() <= 1


def test_each_split_has_its_own_random_numbers():
    keys = [("a", "train", 0), ("a", "val", 0), ("b", "train", 0), ("a", "train", 1)]
    assert len({split_generator(*key).integers(1 << 60) for key in keys}) == len(keys)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99))
def test_inverse_homography_takes_points_back(seed):
    matrix = random_homographies(4, Pose(tilt=0.2, degrees=40), rng(seed))
    points = torch.rand(5, 2) * 1.2 - 0.6
    there = project(matrix, points)
    back = torch.cat(
        [project(m[None], p) for m, p in zip(np.linalg.inv(matrix), there, strict=True)]
    )
    torch.testing.assert_close(back, points.expand(4, 5, 2), atol=1e-4, rtol=0)


def test_unmoved_object_is_seen_as_it_is():
    pictures = smooth_pictures()
    seen = warp(pictures, random_homographies(3, STILL, rng()), 24)
    torch.testing.assert_close(seen[..., 2:-2, 2:-2], pictures[..., 2:-2, 2:-2], atol=0.01, rtol=0)


def test_half_turn_is_a_half_turn():
    pictures = smooth_pictures()
    matrix = np.tile(np.diag([-1.0, -1.0, 1.0]), (3, 1, 1))
    torch.testing.assert_close(
        warp(pictures, matrix, 24), warp(pictures.flip(2, 3), np.tile(np.eye(3), (3, 1, 1)), 24)
    )


def test_neutral_light_changes_nothing():
    pictures = smooth_pictures()
    torch.testing.assert_close(relight(pictures, EVEN, rng()), pictures)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99))
def test_blur_kernels_keep_the_brightness_and_the_centre(seed):
    kernels = blur_kernels(5, Sensor(blur=(0.2, 1.0), motion=(0.0, 4.0)), rng(seed))
    torch.testing.assert_close(kernels.sum(dim=(1, 2)), torch.ones(5))
    torch.testing.assert_close(kernels, kernels.flip(1, 2), atol=1e-6, rtol=1e-4)


def test_perfect_sensor_rounds_to_8_bits():
    pictures = smooth_pictures()
    pixels = expose(pictures, SHARP, rng())
    expected = (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_a_transparent_object_leaves_the_background():
    nothing = np.zeros((3, 32, 32, 4), dtype=np.uint8)
    behind = smooth_pictures().numpy()
    seen = photograph(nothing, behind, Shot(STILL, EVEN, SHARP), rng())
    assert np.abs(seen / 255 - behind.transpose(0, 2, 3, 1)).max() < 0.01


def test_wear_keeps_the_outline_and_the_input():
    objects = rng().integers(0, 256, (4, 16, 16, 4), dtype=np.uint8)
    before = objects.copy()
    worn = weathered(objects, 0.5, 0.5, rng())
    np.testing.assert_array_equal(objects, before)
    np.testing.assert_array_equal(worn[..., 3], objects[..., 3])
    np.testing.assert_array_equal(weathered(objects, 0.0, 0.0, rng())[..., :3], objects[..., :3])


@pytest.mark.parametrize("x, y, inside", [(0, 0, True), (0.4, 0, True), (0.6, 0, False)])
def test_board_coordinates(x, y, inside):
    board = Board(40, 40)
    board.disc(0, 0, 0.5, (200, 10, 20))
    pixel = board.pixels()[int(20 + 20 * y), int(20 + 20 * x)]
    assert (pixel[3] == 255) == inside
