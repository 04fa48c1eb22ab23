"""Traffic signs of the European kind, before photographs."""

from functools import lru_cache

import numpy as np

from mergelib.suites.vision_desk import backgrounds, fonts
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.board import Board
from mergelib.suites.vision_desk.camera import Pose
from mergelib.suites.vision_desk.lighting import Light
from mergelib.suites.vision_desk.scene import Shot, before_photographs
from mergelib.suites.vision_desk.sensor import Sensor
from mergelib.suites.vision_desk.sign_art import SIGNS
from mergelib.suites.vision_desk.splits import Splits, rendered_splits
from mergelib.suites.vision_desk.wear import weathered

CANVAS = 128
FADE, DIRT = 0.35, 0.5
FONTS = ("Roboto Black", "DejaVu Sans Bold", "Source Sans Black", "Hanken Grotesk Bold")
SHOT = Shot(
    pose=Pose(scale=(0.78, 1.02), degrees=7, aspect=1.12, shear=0.08, tilt=0.12, shift=0.08),
    light=Light(exposure=(0.55, 1.2), cast=0.15, gradient=0.25, shadow=0.3, contrast=(0.6, 1.1)),
    sensor=Sensor(blur=(0.2, 0.6), motion=(0.0, 1.0), noise=(0.0, 0.04)),
)
ABOUT = About(
    name="signs",
    title="Traffic signs",
    classes=tuple(SIGNS),
    origin="rendered over photographs",
    note=f"Signs painted by this project, weathered, and photographed by a simulated camera; "
    f"{fonts.NOTE}; {backgrounds.NOTE}.",
    templates=('a zoomed in photo of a "{}" traffic sign.',),
)


@lru_cache(maxsize=1)
def painted() -> np.ndarray:
    """Every sign in every font: (classes, fonts, CANVAS, CANVAS, 4) uint8."""
    rows = []
    for paint in SIGNS.values():
        row = []
        for name in FONTS:
            board = Board(CANVAS, CANVAS)
            paint(board, name)
            row.append(board.pixels())
        rows.append(row)
    return np.array(rows)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of the given signs."""
    objects = painted()[labels, rng.integers(len(FONTS), size=len(labels))]
    objects = weathered(objects, FADE, DIRT, rng)
    return before_photographs(objects, SHOT, size, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("signs", len(SIGNS), render, size, seed)
