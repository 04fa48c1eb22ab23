"""Random crops of photographs that installed packages carry, as backgrounds."""

from functools import cache

import numpy as np
from PIL import Image

from mergelib.suites.vision_desk.packages import package_file

PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/chelsea.png"),
    ("skimage", "data/coffee.png"),
    ("skimage", "data/rocket.jpg"),
    ("skimage", "data/motorcycle_left.png"),
    ("skimage", "data/brick.png"),
    ("skimage", "data/grass.png"),
    ("skimage", "data/gravel.png"),
    ("skimage", "data/camera.png"),
)
NOTE = (
    "backgrounds are crops of the photographs in scikit-learn (china, flower: CC BY) and "
    "scikit-image (chelsea, coffee, rocket, motorcycle, brick, grass, gravel, camera: "
    "public domain, CC0 or CC BY)"
)


@cache
def photographs() -> tuple[Image.Image, ...]:
    """The photographs, decoded once, RGB."""
    return tuple(Image.open(package_file(*where)).convert("RGB") for where in PHOTOGRAPHS)


def random_backgrounds(
    n: int, size: int, rng: np.random.Generator, side: tuple[int, int] = (60, 240)
) -> np.ndarray:
    """n square crops, `side` pixels wide in the photograph, resampled to `size`.

    Mirrored half of the time, each colour channel scaled within 0.7–1.3.
    Returns (n, 3, size, size) float32 in [0, 1].
    """
    out = np.empty((n, size, size, 3), dtype=np.uint8)
    pool = photographs()
    which = rng.integers(len(pool), size=n)
    sides = np.exp(rng.uniform(np.log(side[0]), np.log(side[1]), n))
    corners = rng.random((n, 2))
    for i in range(n):
        photo, width = pool[which[i]], float(sides[i])
        left, top = corners[i] * (np.array(photo.size) - width)
        out[i] = photo.resize(
            (size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + width)
        )
    mirror = rng.random(n) < 0.5
    out[mirror] = out[mirror, :, ::-1]
    tint = rng.uniform(0.7, 1.3, (n, 1, 1, 1)) * rng.uniform(0.85, 1.15, (n, 1, 1, 3))
    return np.clip(out * (tint / 255), 0, 1).astype(np.float32).transpose(0, 3, 1, 2)
