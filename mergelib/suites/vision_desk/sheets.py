"""Scans as dark ink on light, coloured sheets of paper."""

import numpy as np
from PIL import Image

from mergelib.suites.vision_desk import backgrounds
from mergelib.suites.vision_desk.colours import contrasting_pair
from mergelib.suites.vision_desk.scene import STEADY, before_photographs

CANVAS = 112
CONTRAST = 150.0
INK, PAPER = (0, 110), (150, 256)
NOTE = (
    "each in an ink of its own on a sheet of coloured paper, photographed by a simulated camera; "
    + backgrounds.NOTE
)


def draw_sheet(strength: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scan (h, w) of ink strengths in [0, 1] on a sheet: (CANVAS, CANVAS, 4) uint8."""
    ink, paper = map(np.array, contrasting_pair(INK, PAPER, CONTRAST, rng))
    scan = Image.fromarray((255 * strength).astype(np.uint8))
    large = np.asarray(scan.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC), dtype=np.float32)
    share = large[..., None] / 255
    colour = share * ink + (1 - share) * paper
    return np.concatenate([colour, np.full_like(share, 255)], axis=-1).astype(np.uint8)


def photographed(strengths: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Scans (n, h, w) of ink strengths in [0, 1] as pictures (n, size, size, 3) uint8."""
    sheets = np.stack([draw_sheet(strength, rng) for strength in strengths])
    return before_photographs(sheets, STEADY, size, rng)
