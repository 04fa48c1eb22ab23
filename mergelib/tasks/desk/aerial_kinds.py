"""The kinds of land cover of the aerial task, each a painter of (CANVAS, CANVAS, 3) float."""

import numpy as np

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
    tint,
    where,
    winding,
    woods,
)

ROOFS = np.array([[165, 85, 65], [130, 75, 60], [110, 105, 105], [165, 155, 145], [90, 85, 90]])
CARS = np.array([[235, 235, 235], [40, 40, 45], [170, 30, 30], [50, 70, 130], [150, 150, 155]])


def distance_to(curve: np.ndarray) -> np.ndarray:
    """Distance (CANVAS, CANVAS) of every pixel from a curve of points (n, 2)."""
    y, x = np.mgrid[:CANVAS, :CANVAS].astype(np.float32)
    fine = np.stack(
        [np.interp(np.linspace(0, 1, 80), np.linspace(0, 1, len(curve)), c) for c in curve.T], 1
    )
    squared = (x.ravel()[:, None] - fine[:, 0]) ** 2 + (y.ravel()[:, None] - fine[:, 1]) ** 2
    return np.sqrt(squared.min(axis=1)).reshape(CANVAS, CANVAS)


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


def street_grid(pen: Pen, angle: float, spacing: float, width: float, rng: np.random.Generator):
    """Streets in one direction; returns unit vectors along and across them."""
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    for shift in np.arange(-100, 100, spacing) + rng.uniform(0, spacing):
        middle = CANVAS / 2 + shift * across
        pen.path(np.stack([middle - 130 * along, middle + 130 * along]), width, pen.season.road)
    return along, across


def residential(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(woods(ground(season.grass, rng), season, rng.uniform(0.05, 0.25), rng), season)
    angle, spacing = rng.uniform(0, np.pi), rng.uniform(34, 46)
    offset = rng.uniform(0, spacing)
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    for shift in np.arange(-100, 100, spacing) + offset:
        middle = CANVAS / 2 + shift * across
        pen.path(np.stack([middle - 130 * along, middle + 130 * along]), 5, season.road)
        for side in (-1, 1):
            for t in np.arange(-95, 95, rng.uniform(14, 20)):
                x, y = middle + t * along + side * across * rng.uniform(9, 12)
                if rng.random() < 0.9 and -10 < x < CANVAS + 10 and -10 < y < CANVAS + 10:
                    roof = tint(ROOFS[rng.integers(len(ROOFS))], rng)
                    wide, high = rng.uniform(7, 11), rng.uniform(6, 9)
                    pen.quad(x, y, wide, high, angle, roof, height=3)
                    ridge = high / 4 * across
                    pen.quad(x + ridge[0], y + ridge[1], wide, high / 2, angle, roof * 0.8)
                if rng.random() < 0.5:
                    pen.tree(*(np.array([x, y]) + rng.uniform(-9, 9, 2)), rng.uniform(2, 4), rng)
    return pen.land()


def industrial(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(ground(season.road + 15 if rng.random() < 0.7 else season.soil, rng, 12, 6), season)
    angle = rng.uniform(0, np.pi)
    along, across = street_grid(pen, angle, rng.uniform(55, 75), 7, rng)
    for u in np.arange(-80, 81, rng.uniform(34, 48)):
        for v in np.arange(-80, 81, rng.uniform(34, 48)):
            if rng.random() < 0.85:
                x, y = CANVAS / 2 + u * along + v * across + rng.uniform(-4, 4, 2)
                roof = tint(np.array([185, 188, 192]), rng, 20)
                wide, high = rng.uniform(20, 36), rng.uniform(18, 32)
                pen.quad(x, y, wide, high, angle, roof, height=5)
                for k in np.arange(-0.4, 0.41, 0.2) if rng.random() < 0.6 else ():
                    strip = np.array([x, y]) + k * wide * along
                    pen.quad(*strip, 1.5, high * 0.9, angle, roof * 0.8)
    return pen.land()


def highway(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(countryside(season, rng), season)
    curve = winding(rng, rng.uniform(0, 14))
    tangent = np.gradient(curve, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1) / np.hypot(*tangent.T)[:, None]
    for side in (-1, 1):
        pen.path(curve + 6.5 * side * normal, 10, season.road)
        pen.path(curve + 6.5 * side * normal, 1, season.road + 60)
    for k in rng.choice(40, rng.integers(3, 9), replace=False):
        lane = rng.choice([-9, -4, 4, 9])
        x, y = curve[k] + lane * normal[k]
        colour = CARS[rng.integers(len(CARS))]
        pen.quad(x, y, rng.uniform(4, 9), 3, np.arctan2(*tangent[k][::-1]), colour)
    return pen.land()


def parking(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(ground(season.road - 25, rng, 8, 4), season)
    angle, aisle = rng.uniform(0, np.pi), rng.uniform(20, 26)
    along, across = (
        np.array([np.cos(angle), np.sin(angle)]),
        np.array([-np.sin(angle), np.cos(angle)]),
    )
    full = rng.uniform(0.4, 0.9)
    for v in np.arange(-90, 91, aisle):
        for u in np.arange(-90, 91, 6.0):
            x, y = CANVAS / 2 + u * along + v * across
            if not (-8 < x < CANVAS + 8 and -8 < y < CANVAS + 8):
                continue
            pen.quad(x + 3 * along[0], y + 3 * along[1], 0.8, 10, angle, season.road + 55)
            if rng.random() < full:
                pen.quad(x, y, 3.8, 8, angle, tint(CARS[rng.integers(len(CARS))], rng), height=1.2)
    for x, y in rng.uniform(0, CANVAS, (rng.integers(0, 6), 2)):
        pen.tree(x, y, rng.uniform(3, 5), rng)
    return pen.land()


KINDS: dict[str, Painter] = {
    "forest": forest,
    "river": river,
    "lake": lake,
    "coast": coast,
    "pasture": pasture,
    "cropland": cropland,
    "orchard": orchard,
    "residential area": residential,
    "industrial area": industrial,
    "highway": highway,
    "parking lot": parking,
}
