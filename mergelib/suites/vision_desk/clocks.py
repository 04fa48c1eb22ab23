"""Clocks: which full hour is nearest?

The long hand is within `SPREAD` minutes of twelve and the short hand accordingly close to its
hour, so the short hand decides.
"""

import numpy as np

from mergelib.suites.vision_desk import backgrounds, fonts
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.board import Board
from mergelib.suites.vision_desk.camera import Pose
from mergelib.suites.vision_desk.colours import ANY, Colour, contrasting_pair
from mergelib.suites.vision_desk.lighting import Light
from mergelib.suites.vision_desk.scene import Shot, before_photographs
from mergelib.suites.vision_desk.sensor import Sensor
from mergelib.suites.vision_desk.splits import Splits, rendered_splits

CANVAS = 112
SPREAD = 6
CONTRAST = 110.0
NUMERALS = (
    ("12", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"),
    ("XII", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI"),
    ("12", "", "", "3", "", "", "6", "", "", "9", "", ""),
    ("",) * 12,
)
FONTS = ("DejaVu Sans Bold", "STIX Bold", "Roboto", "Source Serif Bold")
SHOT = Shot(
    pose=Pose(scale=(0.92, 1.06), degrees=2, aspect=1.05, shear=0.02, tilt=0.03, shift=0.03),
    light=Light(exposure=(0.7, 1.2), cast=0.1, gradient=0.25, shadow=0.25, contrast=(0.7, 1.1)),
    sensor=Sensor(blur=(0.2, 0.4), motion=(0.0, 0.5), noise=(0.0, 0.02)),
)
ABOUT = About(
    name="clocks",
    title="Clocks",
    classes=tuple(f"about {hour} o'clock" for hour in (12, *range(1, 12))),
    origin="rendered over photographs",
    note="Clock faces drawn in many styles and photographed by a simulated camera; "
    f"{fonts.NOTE}; {backgrounds.NOTE}.",
    templates=("a photo of a clock at {}.",),
)


def on_circle(turn: float, radius: float) -> tuple[float, float]:
    """The point at `turn` (share of a full turn, clockwise from the top) and `radius`."""
    angle = 2 * np.pi * turn
    return radius * np.sin(angle), -radius * np.cos(angle)


def draw_dial(board: Board, ink: Colour, dial: Colour, rng: np.random.Generator) -> None:
    """Rim, dial, ticks and numerals."""
    rim = tuple(rng.integers(0, 256, 3).tolist())
    edge = rng.uniform(0.03, 0.14)
    if rng.random() < 0.7:
        board.disc(0, 0, 0.97, rim)
        board.disc(0, 0, 0.97 - edge, dial)
    else:
        board.rectangle(-0.92, -0.92, 0.92, 0.92, rim)
        board.rectangle(edge - 0.92, edge - 0.92, 0.92 - edge, 0.92 - edge, dial)
    numerals, font = NUMERALS[rng.integers(len(NUMERALS))], FONTS[rng.integers(len(FONTS))]
    tick = rng.uniform(0.02, 0.05)
    for hour, words in enumerate(numerals):
        if words:
            x, y = on_circle(hour / 12, 0.68)
            board.text(x, y, words, 0.17, font, ink)
        else:
            board.line([on_circle(hour / 12, r) for r in (0.68, 0.78)], tick, ink)


def draw_clock(hour: int, rng: np.random.Generator) -> np.ndarray:
    """A clock within SPREAD minutes of the full hour: (CANVAS, CANVAS, 4) uint8."""
    board, minutes = Board(CANVAS, CANVAS), rng.uniform(-SPREAD, SPREAD)
    ink, dial = contrasting_pair(ANY, ANY, CONTRAST, rng)
    draw_dial(board, ink, dial, rng)
    thick = rng.uniform(0.18, 0.24)
    hands = (
        ((hour + minutes / 60) / 12, rng.uniform(0.5, 0.6), thick),
        (minutes / 60, rng.uniform(0.72, 0.85), 0.25 * thick),
    )
    for turn, length, width in hands:
        board.line([on_circle(turn, -0.1), on_circle(turn, length)], width, ink)
    return board.pixels()


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of clocks at the given hours."""
    objects = np.stack([draw_clock(int(label), rng) for label in labels])
    return before_photographs(objects, SHOT, size, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("clocks", len(ABOUT.classes), render, size, seed)
