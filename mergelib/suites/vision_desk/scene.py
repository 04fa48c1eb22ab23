"""A flat painted object put before a background and photographed."""

from dataclasses import dataclass, field

import numpy as np
import torch

from mergelib.suites.vision_desk.backgrounds import random_backgrounds
from mergelib.suites.vision_desk.camera import Pose, random_homographies, warp
from mergelib.suites.vision_desk.lighting import Light, relight
from mergelib.suites.vision_desk.sensor import Sensor, expose

CHUNK = 250


@dataclass(frozen=True)
class Shot:
    """The conditions of a picture: a task's difficulty is mostly its Shot."""

    pose: Pose = field(default_factory=Pose)
    light: Light = field(default_factory=Light)
    sensor: Sensor = field(default_factory=Sensor)


STEADY = Shot(
    pose=Pose(scale=(0.98, 1.06), degrees=2, aspect=1.03, shear=0.02, tilt=0.02, shift=0.02),
    light=Light(exposure=(0.8, 1.2), cast=0.1, gradient=0.1, shadow=0.0, contrast=(0.85, 1.1)),
    sensor=Sensor(blur=(0.2, 0.4), motion=(0.0, 0.5), noise=(0.0, 0.02)),
)
"""A camera on a stand, straight before the object, in even light."""


def photograph(
    objects: np.ndarray, backgrounds: np.ndarray, shot: Shot, rng: np.random.Generator
) -> np.ndarray:
    """Objects (n, h, w, 4) uint8 with alpha, over backgrounds (n, 3, H, H): (n, H, H, 3) uint8."""
    size = backgrounds.shape[-1]
    pictures = []
    for start in range(0, len(objects), CHUNK):
        part = torch.from_numpy(objects[start : start + CHUNK]).permute(0, 3, 1, 2) / 255
        alpha = part[:, 3:]
        layer = torch.cat([part[:, :3] * alpha, alpha], dim=1)
        seen = warp(layer, random_homographies(len(part), shot.pose, rng), size)
        behind = torch.from_numpy(backgrounds[start : start + CHUNK])
        picture = seen[:, :3] + (1 - seen[:, 3:]) * behind
        pictures.append(expose(relight(picture, shot.light, rng), shot.sensor, rng))
    return np.concatenate(pictures)


def before_photographs(
    objects: np.ndarray, shot: Shot, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Objects (n, h, w, 4) uint8 with alpha before random photographs: (n, size, size, 3) uint8."""
    return photograph(objects, random_backgrounds(len(objects), size, rng), shot, rng)
