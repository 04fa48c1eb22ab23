"""Land cover of the aerial task that grows or flows, each a painter of (CANVAS, CANVAS, 3)."""

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from mergelib.tasks.desk.aerial_art import (
    CANVAS,
    Painter,
    Pen,
    Season,
    blend,
    canopy,
    countryside,
    grain,
    ground,
    where,
    winding,
)


def distance_to(curve: np.ndarray) -> np.ndarray:
    """Distance (CANVAS, CANVAS) of every pixel from a curve of points (n, 2)."""
    free = Image.new("L", (CANVAS, CANVAS), 1)
    ImageDraw.Draw(free).line([tuple(p) for p in curve], fill=0)
    return ndimage.distance_transform_edt(np.asarray(free)).astype(np.float32)


def forest(season: Season, rng: np.random.Generator) -> np.ndarray:
    land = canopy(season, rng)
    if rng.random() < 0.5:
        clearing = grain(16, rng)
        land = blend(land, ground(season.grass, rng), where(clearing, rng.uniform(0.5, 0.9)))
    return land


def river(season: Season, rng: np.random.Generator) -> np.ndarray:
    away = distance_to(winding(rng, rng.uniform(8, 26))) + 4 * grain(3, rng)
    land = countryside(season, rng)
    width = rng.uniform(5, 14)
    land = blend(
        land, ground(season.sand * 0.8, rng), where(-away, -(width + rng.uniform(1, 5)), 2)
    )
    return blend(land, ground(season.water, rng, 6, 3), where(-away, -width, 2))


def lake(season: Season, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    x, y = x - rng.uniform(-0.12, 0.12), y - rng.uniform(-0.12, 0.12)
    shore = np.hypot(x * rng.uniform(0.7, 1.4), y) + 0.09 * grain(16, rng) + 0.02 * grain(3, rng)
    radius = rng.uniform(0.16, 0.34)
    land = countryside(season, rng)
    land = blend(land, ground(season.soil, rng), where(-shore, -radius - 0.02, 0.03))
    return blend(land, ground(season.water, rng, 6, 3), where(-shore, -radius, 0.02))


def coast(season: Season, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:CANVAS, :CANVAS] / CANVAS - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    inland = (
        x * np.cos(angle) + y * np.sin(angle) + 0.06 * grain(16, rng) + rng.uniform(-0.15, 0.15)
    )
    land = blend(
        countryside(season, rng),
        ground(season.sand, rng, 8, 6),
        where(-inland, -rng.uniform(0.04, 0.2), 0.03),
    )
    sea = (
        ground(season.water, rng, 8, 4)
        + 25 * where(np.sin(inland * 120 + 3 * grain(8, rng)), 0.8)[..., None]
    )
    land = blend(land, np.full_like(land, 225), where(-inland, -0.02, 0.02))
    return blend(land, sea, where(-inland, 0, 0.02))


def pasture(season: Season, rng: np.random.Generator) -> np.ndarray:
    land = ground(season.grass, rng, 16, 7)
    pen = Pen(land, season)
    angle = rng.uniform(0, np.pi)
    for shift in rng.uniform(-60, 60, rng.integers(1, 4)):
        middle = CANVAS / 2 + shift * np.array([-np.sin(angle), np.cos(angle)])
        along = 110 * np.array([np.cos(angle), np.sin(angle)])
        for t in np.arange(-1, 1, rng.uniform(0.05, 0.12)):
            if rng.random() < 0.8:
                pen.tree(*(middle + t * along + rng.normal(0, 1, 2)), rng.uniform(2, 4), rng)
        angle += np.pi / 2
    for x, y in rng.uniform(0, CANVAS, (rng.integers(0, 9), 2)):
        pen.tree(x, y, rng.uniform(2.5, 5), rng)
    return pen.land()


def rows(season: Season, rng: np.random.Generator, spacing: float, depth: float) -> np.ndarray:
    """Parallel rows of plants on soil, at a random angle."""
    y, x = np.mgrid[:CANVAS, :CANVAS]
    angle = rng.uniform(0, np.pi)
    phase = (x * np.cos(angle) + y * np.sin(angle)) / spacing + 0.25 * grain(16, rng)
    stripe = (0.5 + 0.5 * np.sin(2 * np.pi * phase)) * depth
    return blend(ground(season.soil, rng), ground(season.crop, rng), stripe)


def cropland(season: Season, rng: np.random.Generator) -> np.ndarray:
    land = rows(season, rng, rng.uniform(4, 8), rng.uniform(0.3, 0.9))
    y, x = np.mgrid[:CANVAS, :CANVAS] - CANVAS / 2
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, 2 * np.pi)
        side = x * np.cos(angle) + y * np.sin(angle) - rng.uniform(5, 40)
        other = rows(season, rng, rng.uniform(4, 8), rng.uniform(0.1, 0.9)) + rng.normal(0, 12, 3)
        land = blend(land, other, where(side, 0, 1.5))
    return land


def orchard(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(ground(season.grass if rng.random() < 0.5 else season.soil, rng), season)
    angle, step = rng.uniform(0, np.pi), rng.uniform(8, 13)
    rise = step * rng.uniform(0.8, 1.2)
    radius = min(step, rise) * rng.uniform(0.28, 0.42)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    for row in np.arange(-95, 95, rise):
        for column in np.arange(-95, 95, step):
            if rng.random() < 0.93:
                x, y = np.array([column, row]) @ turn + CANVAS / 2 + rng.normal(0, 0.6, 2)
                if -8 < x < CANVAS + 8 and -8 < y < CANVAS + 8:
                    pen.tree(x, y, radius * rng.uniform(0.8, 1.1), rng)
    return pen.land()


def vineyard(season: Season, rng: np.random.Generator) -> np.ndarray:
    """Narrow hedges of vines on bare soil, straight, with gaps."""
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
    angle, spacing = rng.uniform(0, np.pi), rng.uniform(7, 11)
    across = (x * np.cos(angle) + y * np.sin(angle)) / spacing
    vines = where(np.cos(2 * np.pi * across) + 0.35 * grain(2, rng), rng.uniform(0.3, 0.6), 0.3)
    land = blend(
        ground(season.soil + rng.uniform(0, 30), rng, 12, 8), canopy(season, rng) + 15, vines
    )
    if rng.random() < 0.5:
        angle = rng.uniform(0, np.pi)
        line = x * np.cos(angle) + y * np.sin(angle)
        middle = line.mean() + rng.uniform(-25, 25)
        land = blend(land, ground(season.soil + 25, rng), where(-np.abs(line - middle), -4.0, 1.5))
    return land


NATURE: dict[str, Painter] = {
    "forest": forest,
    "river": river,
    "lake": lake,
    "coast": coast,
    "pasture": pasture,
    "cropland": cropland,
    "orchard": orchard,
    "vineyard": vineyard,
}
