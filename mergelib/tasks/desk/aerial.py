"""Aerial pictures of land cover, painted procedurally and seen by a simulated sensor."""

import numpy as np
import torch

from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.aerial_art import CANVAS, Season
from mergelib.tasks.desk.aerial_built import BUILT
from mergelib.tasks.desk.aerial_nature import NATURE
from mergelib.tasks.desk.camera import Pose, random_homographies, warp
from mergelib.tasks.desk.lighting import Light, relight
from mergelib.tasks.desk.sensor import Sensor, expose
from mergelib.tasks.desk.splits import Splits, rendered_splits

KINDS = {**NATURE, **BUILT}
CHUNK = 250
POSE = Pose(scale=(1.5, 2.4), degrees=180, aspect=1.05, shear=0.05, tilt=0.04, shift=0.0)
LIGHT = Light(
    exposure=(0.65, 1.3), cast=0.15, gradient=0.2, shadow=0.25, contrast=(0.6, 1.1), grey=0.7
)
SENSOR = Sensor(blur=(0.2, 0.7), motion=(0.0, 1.2), noise=(0.0, 0.04))
ABOUT = About(
    name="aerial",
    title="Aerial pictures",
    classes=tuple(KINDS),
    origin="rendered",
    note="Land cover painted by this project's own procedures: no photograph is behind it.",
    templates=("an aerial photo of a {}.",),
)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of the given kinds of land."""
    painters = list(KINDS.values())
    pictures = []
    for part in np.array_split(labels, max(1, len(labels) // CHUNK)):
        land = np.empty((len(part), CANVAS, CANVAS, 3), dtype=np.float32)
        for i, label in enumerate(part):
            land[i] = painters[label](Season(rng), rng)
        layers = torch.from_numpy(land).permute(0, 3, 1, 2).clamp(0, 255) / 255
        seen = warp(layers, random_homographies(len(part), POSE, rng), size)
        pictures.append(expose(relight(seen, LIGHT, rng), SENSOR, rng))
    return np.concatenate(pictures)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("aerial", len(KINDS), render, size, seed)
