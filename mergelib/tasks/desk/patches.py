"""Patches of photographed surfaces: which surface is this?

Each photograph is cut into square blocks, and each block belongs to one split only; a patch,
however turned, keeps `MARGIN` pixels from the border of its block.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.lighting import Light, relight
from mergelib.tasks.desk.packages import package_file
from mergelib.tasks.desk.sensor import Sensor, expose
from mergelib.tasks.desk.splits import COUNTS, Splits, balanced_labels, split_generator

MARGIN = 2.0
SIDE = (0.6, 0.95)
DEGREES = 40.0
CONTRAST = 9.0
LIGHT = Light(exposure=(0.65, 1.3), cast=0.15, gradient=0.3, shadow=0.2, contrast=(0.7, 1.3))
SENSOR = Sensor(blur=(0.2, 0.8), motion=(0.0, 1.5), noise=(0.0, 0.035))
SHARES = {"test": 0.25, "val": 0.15}


@dataclass(frozen=True)
class Surface:
    """A photograph, the part of it that shows the surface (share of width and height: left, top,
    right, bottom), and the side of its blocks in pixels at the working width."""

    name: str
    package: str
    path: str
    block: int
    part: tuple[float, float, float, float] = (0, 0, 1, 1)
    width: int | None = None


SURFACES = (
    Surface("paving bricks", "skimage", "data/brick.png", 85),
    Surface("gravel", "skimage", "data/gravel.png", 73),
    Surface("grass", "skimage", "data/grass.png", 73),
    Surface("old coins", "skimage", "data/coins.png", 60),
    Surface("printed page", "skimage", "data/page.png", 51, (0, 0, 1, 0.81)),
    Surface("handwriting", "skimage", "data/text.png", 57),
    Surface("galaxies", "skimage", "data/hubble_deep_field.jpg", 80, width=600),
    Surface("stained tissue", "skimage", "data/ihc.png", 85),
    Surface("foliage", "sklearn", "datasets/images/china.jpg", 42, (0, 0.8, 1, 1)),
    Surface("dahlia", "sklearn", "datasets/images/flower.jpg", 48, (0.3, 0.2, 0.68, 0.72)),
)
ABOUT = About(
    name="patches",
    title="Patches of photographs",
    classes=tuple(surface.name for surface in SURFACES),
    origin="photographed",
    note="Turned, scaled and relit grey patches of photographs in "
    "scikit-image (public domain, CC0 or CC BY) and scikit-learn (china, flower: CC BY); no part "
    "of a photograph is in two splits.",
    templates=("a close-up photo of {}.",),
)


def load(surface: Surface) -> Image.Image:
    """The surface's part of its photograph, grey, at its working width."""
    photo = Image.open(package_file(surface.package, surface.path)).convert("L")
    if surface.width is not None:
        height = round(photo.height * surface.width / photo.width)
        photo = photo.resize((surface.width, height), Image.Resampling.LANCZOS)
    left, top, right, bottom = surface.part
    return photo.crop(
        tuple(map(round, (left * photo.width, top * photo.height, right * photo.width,
                          bottom * photo.height)))
    )  # fmt: skip


def blocks(width: int, height: int, side: int, seed: int, name: str) -> dict[str, np.ndarray]:
    """Left upper corners (n, 2) of the blocks of each split, disjoint and covering the picture."""
    columns, rows = width // side, height // side
    corners = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 2) * side
    corners = corners + np.array([width - columns * side, height - rows * side]) // 2
    corners = split_generator(f"patches/{name}", "blocks", seed).permutation(corners)
    n_test = max(1, round(SHARES["test"] * len(corners)))
    n_val = max(1, round(SHARES["val"] * len(corners)))
    test, val, train = np.split(corners, [n_test, n_test + n_val])
    return {"train": train, "val": val, "test": test}


def cut(
    photo: Image.Image, corners: np.ndarray, side: int, n: int, size: int, rng: np.random.Generator
) -> np.ndarray:
    """n patches (n, size, size) uint8, each inside one of the blocks at `corners`.

    A patch on which hardly anything is to be seen (standard deviation of its grey levels below
    CONTRAST) is taken again elsewhere, in any block, up to 20 times.
    """
    out = np.empty((n, size, size), dtype=np.uint8)
    room = side / 2 - MARGIN
    for i in range(n):
        for attempt in range(20):
            left, top = corners[(i + attempt) % len(corners)]
            half = room / np.sqrt(2) * rng.uniform(*SIDE)
            free = room - half * np.sqrt(2)
            x, y = np.array([left, top]) + side / 2 + rng.uniform(-free, free, 2)
            angle = np.deg2rad(rng.uniform(-DEGREES, DEGREES))
            step = half / size
            c, s = np.cos(angle) * step, np.sin(angle) * step
            frame = (c, -s, x - size * (c - s), s, c, y - size * (s + c))
            fine = photo.transform(
                (2 * size, 2 * size), Image.Transform.AFFINE, frame, Image.Resampling.BICUBIC
            )
            out[i] = fine.reduce(2)
            if out[i].std() >= CONTRAST:
                break
    return out


def build(size: int, seed: int) -> Splits:
    """Patches of all surfaces, resampled to `size`."""
    photos = [load(surface) for surface in SURFACES]
    splits: Splits = {}
    for split, count in COUNTS.items():
        rng = split_generator("patches", split, seed)
        labels = balanced_labels(count, len(SURFACES), rng)
        grey = np.empty((count, size, size), dtype=np.uint8)
        for label, (surface, photo) in enumerate(zip(SURFACES, photos, strict=True)):
            corners = blocks(*photo.size, surface.block, seed, surface.name)[split]
            chosen = np.flatnonzero(labels == label)
            grey[chosen] = cut(photo, corners, surface.block, len(chosen), size, rng)
        pictures = torch.from_numpy(grey / np.float32(255)).unsqueeze(1).expand(-1, 3, -1, -1)
        splits[split] = (expose(relight(pictures, LIGHT, rng), SENSOR, rng), labels)
    return splits
