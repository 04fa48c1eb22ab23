"""Dominoes from close by: how many pips are on the upper half?

Of the lower half, the distractor, only a part is in the picture.
"""

import numpy as np

from mergelib.suites.vision_desk import backgrounds
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.board import Board
from mergelib.suites.vision_desk.camera import Pose
from mergelib.suites.vision_desk.colours import ANY, Colour, contrasting_pair
from mergelib.suites.vision_desk.lighting import Light
from mergelib.suites.vision_desk.scene import Shot, before_photographs
from mergelib.suites.vision_desk.sensor import Sensor
from mergelib.suites.vision_desk.splits import Splits, rendered_splits

CANVAS = 120
CONTRAST = 110.0
FOLD = 0.48
PIPS = {
    0: "... ... ...",
    1: "... .o. ...",
    2: "o.. ... ..o",
    3: "o.. .o. ..o",
    4: "o.o ... o.o",
    5: "o.o .o. o.o",
    6: "o.o o.o o.o",
    7: "o.o ooo o.o",
    8: "ooo o.o ooo",
    9: "ooo ooo ooo",
}
SHOT = Shot(
    pose=Pose(scale=(0.95, 1.05), degrees=4, aspect=1.06, shear=0.04, tilt=0.05, shift=0.03),
    light=Light(exposure=(0.7, 1.2), cast=0.1, gradient=0.25, shadow=0.25, contrast=(0.7, 1.1)),
    sensor=Sensor(blur=(0.2, 0.4), motion=(0.0, 0.5), noise=(0.0, 0.03)),
)
ABOUT = About(
    name="dominoes",
    title="Dominoes",
    classes=tuple(f"{pips} pips" for pips in PIPS),
    origin="rendered over photographs",
    note="Tiles of the double-nine set drawn in many colours and photographed by a simulated "
    f"camera; {backgrounds.NOTE}.",
    templates=("a photo of a domino with {} on its upper half.",),
)


def draw_half(board: Board, pips: int, middle: float, colour: Colour, radius: float) -> None:
    """The pips of one half, whose middle is at height `middle`."""
    for row, marks in enumerate(PIPS[pips].split()):
        for column, mark in enumerate(marks):
            if mark == "o":
                board.disc(0.5 * (column - 1), middle + 0.42 * (row - 1), radius, colour)


def draw_tile(upper: int, rng: np.random.Generator) -> np.ndarray:
    """A tile with `upper` pips above and any number below: (CANVAS, CANVAS, 4) uint8."""
    board, (tile, pip) = Board(CANVAS, CANVAS), contrasting_pair(ANY, ANY, CONTRAST, rng)
    board.rectangle(-0.8, -0.98, 0.8, 1.1, tile)
    half, radius = rng.uniform(0.5, 0.7), rng.uniform(0.14, 0.18)
    board.line([(-half, FOLD), (half, FOLD)], rng.uniform(0.04, 0.08), pip)
    draw_half(board, upper, FOLD - 0.72, pip, radius)
    draw_half(board, int(rng.integers(len(PIPS))), FOLD + 0.72, pip, radius)
    return board.pixels()


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of tiles with the given upper halves."""
    objects = np.stack([draw_tile(int(label), rng) for label in labels])
    return before_photographs(objects, SHOT, size, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("dominoes", len(PIPS), render, size, seed)
