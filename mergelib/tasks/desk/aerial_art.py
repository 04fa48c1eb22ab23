"""Land seen from above: one painter per kind of land cover.

Every painter draws on a square canvas of CANVAS pixels, which is about 200 m wide, from a palette
of the season and from fields of smooth noise; the same trees, fields, roads and houses occur in
many kinds, as they do on the ground.
"""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

CANVAS = 128
BANK = 640
SHADOW = (35, 38, 42)


@cache
def noise_bank(scale: int) -> np.ndarray:
    """A large field of smooth noise of a given grain (pixels), in about [-1, 1]."""
    rng = np.random.default_rng(scale)
    field = ndimage.gaussian_filter(rng.standard_normal((BANK, BANK)), scale, mode="wrap")
    return (field / (2 * field.std())).astype(np.float32)


def grain(scale: int, rng: np.random.Generator) -> np.ndarray:
    """A random window (CANVAS, CANVAS) of the bank, turned and mirrored at random."""
    top, left = rng.integers(0, BANK - CANVAS, 2)
    window = noise_bank(scale)[top : top + CANVAS, left : left + CANVAS]
    window = window if rng.random() < 0.5 else window[:, ::-1]
    return window if rng.random() < 0.5 else window.T


def tint(colour: np.ndarray, rng: np.random.Generator, spread: float = 14.0) -> np.ndarray:
    """A colour near the given one."""
    return colour + rng.normal(0, spread, 3) * 0.5 + rng.normal(0, spread)


class Season:
    """Colours of a season between lush (0) and dry (1), each a float RGB triple."""

    def __init__(self, rng: np.random.Generator) -> None:
        dry = rng.random()
        self.grass = tint(
            np.array([95, 125, 65]) * (1 - dry) + np.array([165, 150, 100]) * dry, rng
        )
        self.crop = tint(
            np.array([110, 140, 70]) * (1 - dry) + np.array([190, 165, 110]) * dry, rng
        )
        self.tree = tint(np.array([45, 75, 40]) * (1 - dry) + np.array([85, 85, 50]) * dry, rng, 8)
        self.soil = tint(np.array([140, 110, 85]), rng)
        self.water = tint(
            np.array([50, 80, 95]) + rng.uniform(-25, 40) * np.array([0.6, 0.9, 0.8]), rng
        )
        self.road = tint(np.array([130, 130, 130]), rng)
        self.sand = tint(np.array([215, 195, 155]), rng)
        self.sun = rng.uniform(0, 2 * np.pi)


def ground(colour: np.ndarray, rng: np.random.Generator, coarse: float = 18, fine: float = 12):
    """A bare surface (CANVAS, CANVAS, 3): a colour with coarse and fine noise."""
    shade = coarse * grain(16, rng) + fine * grain(1, rng)
    return colour.astype(np.float32) + shade[..., None]


def canopy(season: Season, rng: np.random.Generator) -> np.ndarray:
    """Closed tree crowns, lit from the sun's side."""
    crowns = grain(int(rng.integers(2, 4)), rng)
    dx, dy = np.cos(season.sun), np.sin(season.sun)
    relief = np.gradient(crowns)
    light = 45 * (dx * relief[1] + dy * relief[0]) + 14 * crowns + 8 * grain(16, rng)
    return season.tree.astype(np.float32) + light[..., None]


def blend(under: np.ndarray, over: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return under + (over - under) * mask[..., None]


def where(field: np.ndarray, threshold: float, softness: float = 0.06) -> np.ndarray:
    """1 where field > threshold, 0 below, a narrow ramp between."""
    return np.clip((field - threshold) / softness + 0.5, 0, 1)


def woods(land: np.ndarray, season: Season, share: float, rng: np.random.Generator) -> np.ndarray:
    """Groves over about `share` of the land."""
    edge = grain(16, rng) + 0.25 * grain(2, rng)
    return blend(land, canopy(season, rng), where(edge, float(np.quantile(edge, 1 - share))))


class Pen:
    """Draws crisp shapes onto a land array; shadows fall away from the sun."""

    def __init__(self, land: np.ndarray, season: Season) -> None:
        self.image = Image.fromarray(land.clip(0, 255).astype(np.uint8))
        self.draw = ImageDraw.Draw(self.image)
        self.season = season
        self.towards = (math.cos(season.sun), math.sin(season.sun))

    @staticmethod
    def paint(colour: np.ndarray) -> tuple[int, ...]:
        return tuple(min(255, max(0, int(c))) for c in colour)

    def quad(self, x, y, wide, high, angle, colour, height: float = 0.0) -> None:
        """A turned rectangle; with a height it casts a shadow."""
        cos, sin = math.cos(angle), math.sin(angle)
        a, b, c, d = cos * wide / 2, sin * wide / 2, -sin * high / 2, cos * high / 2
        corners = [(-a - c, -b - d), (a - c, b - d), (a + c, b + d), (c - a, d - b)]
        for share in (1.0, 0.5) if height else ():
            left, top = x - share * height * self.towards[0], y - share * height * self.towards[1]
            self.draw.polygon([(left + u, top + v) for u, v in corners], fill=SHADOW)
        self.draw.polygon([(x + u, y + v) for u, v in corners], fill=self.paint(colour))

    def disc(self, x: float, y: float, r: float, colour: tuple[int, ...]) -> None:
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def tree(self, x: float, y: float, radius: float, rng: np.random.Generator) -> None:
        dx, dy = self.towards[0] * radius, self.towards[1] * radius
        self.disc(x - 0.8 * dx, y - 0.8 * dy, radius, SHADOW)
        green = self.season.tree + rng.uniform(-10, 10)
        self.disc(x, y, radius, self.paint(green))
        self.disc(x + 0.28 * dx, y + 0.28 * dy, 0.5 * radius, self.paint(green + 22))

    def path(self, points: np.ndarray, width: float, colour: np.ndarray) -> None:
        self.draw.line(
            [tuple(p) for p in points],
            fill=self.paint(colour),
            width=max(1, round(width)),
            joint="curve",
        )

    def land(self) -> np.ndarray:
        return np.asarray(self.image, dtype=np.float32)


def winding(rng: np.random.Generator, bend: float) -> np.ndarray:
    """A curve (40, 2) across the canvas, through a point not far from its middle."""
    t = np.linspace(-1, 1, 40)
    phase, frequency = rng.uniform(0, 2 * np.pi), rng.uniform(1.5, 4)
    off = bend * np.sin(frequency * t + phase) + rng.uniform(-14, 14)
    angle = rng.uniform(0, np.pi)
    along = np.stack([t * 95, off], axis=1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return along @ turn + CANVAS / 2


def countryside(season: Season, rng: np.random.Generator) -> np.ndarray:
    """What may surround anything: grass or a crop, with some woods."""
    land = ground(season.grass if rng.random() < 0.6 else season.crop, rng)
    return woods(land, season, rng.uniform(0.05, 0.45), rng)


Painter = Callable[[Season, np.random.Generator], np.ndarray]
