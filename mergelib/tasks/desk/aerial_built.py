"""Land cover of the aerial task that is built, each a painter of (CANVAS, CANVAS, 3)."""

import math

import numpy as np

from mergelib.tasks.desk.aerial_art import (
    CANVAS,
    Painter,
    Pen,
    Season,
    countryside,
    ground,
    tint,
    winding,
    woods,
)

ROOFS = np.array([[165, 85, 65], [130, 75, 60], [110, 105, 105], [165, 155, 145], [90, 85, 90]])
CARS = np.array([[235, 235, 235], [40, 40, 45], [170, 30, 30], [50, 70, 130], [150, 150, 155]])
CRATES = np.array([[150, 60, 45], [55, 80, 130], [70, 110, 80], [190, 190, 185], [190, 130, 50]])


def axes(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a direction and across it."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([cos, sin]), np.array([-sin, cos])


def inside(x: float, y: float) -> bool:
    return -8 < x < CANVAS + 8 and -8 < y < CANVAS + 8


def street_grid(pen: Pen, angle: float, spacing: float, width: float, rng: np.random.Generator):
    """Streets in one direction; returns unit vectors along and across them."""
    along, across = axes(angle)
    for shift in np.arange(-100, 100, spacing) + rng.uniform(0, spacing):
        middle = CANVAS / 2 + shift * across
        pen.path(np.stack([middle - 130 * along, middle + 130 * along]), width, pen.season.road)
    return along, across


def house(pen: Pen, x: float, y: float, angle: float, rng: np.random.Generator) -> None:
    """A gabled house whose one roof plane lies darker than the other."""
    roof = tint(ROOFS[rng.integers(len(ROOFS))], rng)
    wide, high = rng.uniform(7, 11), rng.uniform(6, 9)
    pen.quad(x, y, wide, high, angle, roof, height=3)
    across = axes(angle)[1] * high / 4
    pen.quad(x + across[0], y + across[1], wide, high / 2, angle, roof * 0.8)


def residential(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(woods(ground(season.grass, rng), season, rng.uniform(0.05, 0.2), rng), season)
    angle, spacing = rng.uniform(0, np.pi), rng.uniform(34, 44)
    along, across = axes(angle)
    for shift in np.arange(-100, 100, spacing) + rng.uniform(0, spacing):
        middle = CANVAS / 2 + shift * across
        pen.path(np.stack([middle - 130 * along, middle + 130 * along]), 5, season.road)
        for side in (-1, 1):
            for t in np.arange(-95, 95, rng.uniform(13, 17)):
                x, y = middle + t * along + side * across * rng.uniform(9, 12)
                if inside(x, y) and rng.random() < 0.92:
                    house(pen, x, y, angle, rng)
                if inside(x, y) and rng.random() < 0.4:
                    dx, dy = rng.uniform(-9, 9, 2)
                    pen.tree(x + dx, y + dy, rng.uniform(2, 4), rng)
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


def railway(season: Season, rng: np.random.Generator) -> np.ndarray:
    """Two to six tracks on ballast: sleepers under two rails."""
    pen = Pen(countryside(season, rng), season)
    angle, tracks = rng.uniform(0, np.pi), rng.integers(2, 7)
    along, across = axes(angle)
    middle = CANVAS / 2 + rng.uniform(-14, 14) * across
    pen.quad(*middle, 280, 8.5 * tracks + 4, angle, season.road + rng.uniform(-30, 20))
    for k in range(tracks):
        line = middle + (k - (tracks - 1) / 2) * 8.5 * across
        for t in np.arange(-90, 90, 4.0):
            pen.quad(*(line + t * along), 1.3, 5.5, angle, season.soil * 0.6)
        for side in (-1.6, 1.6):
            rail = line + side * across
            pen.path(np.stack([rail - 130 * along, rail + 130 * along]), 1, season.road * 0.5)
    return pen.land()


def parking(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(ground(season.road - 25, rng, 8, 4), season)
    angle, aisle = rng.uniform(0, np.pi), rng.uniform(20, 26)
    along, across = axes(angle)
    full = rng.uniform(0.4, 0.9)
    for v in np.arange(-90, 91, aisle):
        for u in np.arange(-90, 91, 6.0):
            x, y = CANVAS / 2 + u * along + v * across
            if not inside(x, y):
                continue
            pen.quad(x + 3 * along[0], y + 3 * along[1], 0.8, 10, angle, season.road + 55)
            if rng.random() < full:
                pen.quad(x, y, 3.8, 8, angle, tint(CARS[rng.integers(len(CARS))], rng), height=1.2)
    for x, y in rng.uniform(0, CANVAS, (rng.integers(0, 6), 2)):
        pen.tree(x, y, rng.uniform(3, 5), rng)
    return pen.land()


def container_yard(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(ground(season.road + 10, rng, 10, 5), season)
    angle, full = rng.uniform(0, np.pi), rng.uniform(0.6, 0.95)
    along, across = axes(angle)
    for v in np.arange(-90, 91, rng.uniform(24, 34)):
        for w in (0, 5.5, 11.0):
            for u in np.arange(-90, 91, 15.0):
                x, y = CANVAS / 2 + u * along + (v + w) * across
                if inside(x, y) and rng.random() < full:
                    colour = tint(CRATES[rng.integers(len(CRATES))], rng)
                    pen.quad(x, y, 14, 5, angle, colour, height=rng.uniform(1, 4))
    return pen.land()


def solar_park(season: Season, rng: np.random.Generator) -> np.ndarray:
    pen = Pen(ground(season.grass if rng.random() < 0.6 else season.soil, rng), season)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(11, 16)
    along, across = axes(angle)
    panel, length = tint(np.array([45, 55, 85]), rng, 8), rng.uniform(28, 70)
    for v in np.arange(-95, 96, pitch):
        for u in np.arange(-95, 96, length + 6):
            x, y = CANVAS / 2 + u * along + v * across
            pen.quad(x, y, length, 0.5 * pitch, angle, panel, height=2)
            pen.quad(x, y, length, 1, angle, panel + 45)
    return pen.land()


BUILT: dict[str, Painter] = {
    "residential area": residential,
    "industrial area": industrial,
    "highway": highway,
    "railway": railway,
    "parking lot": parking,
    "container yard": container_yard,
    "solar park": solar_park,
}
