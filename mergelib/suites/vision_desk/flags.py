"""National flags in the wind: waving, in folds, cropped, before sky or photographs.

Other flags may fly beside the one in the middle, which gives the class, and partly behind it.
"""

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from mergelib.suites.vision_desk import backgrounds
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.board import Board
from mergelib.suites.vision_desk.camera import Pose, pixel_grid, random_homographies, warp
from mergelib.suites.vision_desk.flag_art import FLAGS, HALF, HEIGHT, WIDTH
from mergelib.suites.vision_desk.lighting import Light
from mergelib.suites.vision_desk.scene import CHUNK, Shot, photograph
from mergelib.suites.vision_desk.sensor import Sensor
from mergelib.suites.vision_desk.splits import Splits, rendered_splits

CANVAS, COARSE = 112, 28
WAVE = 0.16
FOLD = 0.45
SHADE = 0.5
SKY = 0.3
NEIGHBOURS = 2
BESIDE = Pose(scale=(0.6, 1.1), degrees=30, aspect=1.3, shear=0.25, tilt=0.2, shift=0.25)
SHOT = Shot(
    pose=Pose(scale=(0.65, 1.05), degrees=20, aspect=1.2, shear=0.2, tilt=0.2, shift=0.16),
    light=Light(exposure=(0.6, 1.2), cast=0.2, gradient=0.3, shadow=0.4, contrast=(0.6, 1.1)),
    sensor=Sensor(blur=(0.2, 0.7), motion=(0.0, 1.5), noise=(0.0, 0.04)),
)
ABOUT = About(
    name="flags",
    title="Flags",
    classes=tuple(FLAGS),
    origin="rendered over photographs",
    note=f"National flags painted by this project, waving before a simulated camera; "
    f"{backgrounds.NOTE}.",
    templates=("a photo of the flag of {}.",),
)


@lru_cache(maxsize=1)
def painted() -> np.ndarray:
    """(classes, HEIGHT, WIDTH, 4) uint8."""
    pictures = []
    for paint in FLAGS.values():
        board = Board(WIDTH, HEIGHT)
        paint(board)
        pictures.append(board.pixels())
    return np.stack(pictures)


def wave(flags: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Flags (n, HEIGHT, WIDTH, 4) as waving cloth on a square canvas (n, CANVAS, CANVAS, 4).

    Two travelling sine waves lift the cloth; they shift it up and down, squeeze it sideways into
    folds and shade it where it turns from the light. Both grow from the hoist to the fly.
    """
    n = len(flags)

    def numbers(low: float, high: float) -> torch.Tensor:
        return torch.as_tensor(rng.uniform(low, high, (n, 1, 1)), dtype=torch.float32)

    x, y = pixel_grid(COARSE).unbind(-1)
    y, x = y / HALF * 1.15, x * 1.15
    loose = (0.25 + 0.75 * (x + 1) / 2).clamp(0, 1)
    lift, turn = torch.zeros(n, COARSE, COARSE), torch.zeros(n, COARSE, COARSE)
    for low, high, share in ((2.0, 5.0, 1.0), (5.0, 10.0, 0.45)):
        frequency, phase, lean = numbers(low, high), numbers(0, 2 * np.pi), numbers(-1.2, 1.2)
        size = numbers(0.2, 1.0) * share
        angle = frequency * (x + lean * y * HALF) + phase
        lift = lift + size * torch.sin(angle) * loose
        turn = turn + size * torch.cos(angle) * loose
    strength = numbers(0.2, 1.0)
    shift_x = x + FOLD * 0.3 * strength * turn * loose
    shift_y = y + WAVE / HALF * strength * lift
    shade = 1 + SHADE * strength * turn * numbers(-1, 1)
    cloth = torch.stack([shift_x, shift_y, shade], dim=1)
    cloth = F.interpolate(cloth, (CANVAS, CANVAS), mode="bicubic", align_corners=False)
    layers = torch.from_numpy(flags).permute(0, 3, 1, 2) / 255
    grid = cloth[:, :2].permute(0, 2, 3, 1)
    seen = F.grid_sample(layers, grid, padding_mode="zeros", align_corners=False)
    seen[:, :3] *= cloth[:, 2:].clamp(0.25, 1.6) / seen[:, 3:].clamp(min=0.05)
    return (seen.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def skies(n: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Blue to overcast skies (n, 3, size, size) in [0, 1], lighter towards the ground."""
    blue = np.array([0.35, 0.55, 0.85]).reshape(1, 3, 1, 1)
    pale = np.array([0.85, 0.87, 0.9]).reshape(1, 3, 1, 1)
    height = np.linspace(0, 1, size).reshape(1, 1, size, 1)
    cloud = rng.uniform(0, 1, (n, 1, 1, 1))
    share = np.clip(cloud + rng.uniform(-0.3, 0.6, (n, 1, 1, 1)) * height, 0, 1)
    sky = (blue * (1 - share) + pale * share) * rng.uniform(0.6, 1.1, (n, 1, 1, 1))
    return np.broadcast_to(sky.clip(0, 1), (n, 3, size, size)).astype(np.float32)


def cloths(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Waving flags (n, CANVAS, CANVAS, 4) uint8 of the given classes."""
    chunks = np.array_split(painted()[labels], max(1, len(labels) // CHUNK))
    return np.concatenate([wave(chunk, rng) for chunk in chunks])


def beside(behind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Backgrounds (n, 3, H, H) with a flag of a random country near the border of each."""
    n, _, size, _ = behind.shape
    pictures = []
    for start in range(0, n, CHUNK):
        under = torch.from_numpy(behind[start : start + CHUNK])
        flags = torch.from_numpy(cloths(rng.integers(len(FLAGS), size=len(under)), rng))
        layer = flags.permute(0, 3, 1, 2) / 255
        layer = torch.cat([layer[:, :3] * layer[:, 3:], layer[:, 3:]], dim=1)
        place = random_homographies(len(under), BESIDE, rng)
        angle = rng.uniform(0, 2 * np.pi, len(under))
        away = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(
            0.8, 1.2, (len(under), 1)
        )
        place[:, :2, 2] += away
        seen = warp(layer, place, size)
        pictures.append((seen[:, :3] + (1 - seen[:, 3:]) * under).numpy())
    return np.concatenate(pictures)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of the given flags."""
    n = len(labels)
    behind = backgrounds.random_backgrounds(n, size, rng)
    open_air = rng.random(n) < SKY
    behind[open_air] = skies(int(open_air.sum()), size, rng)
    count = rng.integers(0, NEIGHBOURS, n, endpoint=True)
    for already in range(NEIGHBOURS):
        more = count > already
        behind[more] = beside(behind[more], rng)
    return photograph(cloths(labels, rng), behind, SHOT, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("flags", len(FLAGS), render, size, seed)
