"""Light: exposure, colour cast, a gradient across the picture, cast shadows, contrast."""

from dataclasses import dataclass

import numpy as np
import torch

from mergelib.suites.vision_desk.camera import pixel_grid


@dataclass(frozen=True)
class Light:
    """Ranges of the light.

    exposure: factor (log-uniform); cast: each channel's factor within 1 ± cast; gradient: the
    brightness changes by up to ± this from centre to edge; shadow: chance of a half-plane in
    shadow, depth: how much of its light a shadow takes at most; contrast: factor about the
    picture's mean.
    """

    exposure: tuple[float, float] = (0.6, 1.3)
    cast: float = 0.1
    gradient: float = 0.2
    shadow: float = 0.25
    depth: float = 0.5
    contrast: tuple[float, float] = (0.7, 1.1)


def relight(images: torch.Tensor, light: Light, rng: np.random.Generator) -> torch.Tensor:
    """Images (n, 3, H, H) in [0, 1] under random light; not clipped."""
    n, _, size, _ = images.shape

    def column(values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32).reshape(n, -1, 1, 1)

    x, y = pixel_grid(size).unbind(-1)
    angle = rng.uniform(0, 2 * np.pi, n)
    slope = column(np.cos(angle)) * x + column(np.sin(angle)) * y
    brightness = 1 + column(rng.uniform(0, light.gradient, n)) * slope
    angle = rng.uniform(0, 2 * np.pi, n)
    edge = column(np.cos(angle)) * x + column(np.sin(angle)) * y
    edge = (edge - column(rng.uniform(-0.6, 0.6, n))) * column(np.exp(rng.uniform(1, 4, n)))
    depth = rng.uniform(0.2, max(light.depth, 0.2), n) * (rng.random(n) < light.shadow)
    brightness = brightness * (1 - column(depth) * torch.sigmoid(edge))
    exposure = column(np.exp(rng.uniform(*np.log(light.exposure), n)))
    cast = column(rng.uniform(1 - light.cast, 1 + light.cast, (n, 3)))
    lit = images * brightness * exposure * cast
    mean = lit.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (lit - mean) * column(rng.uniform(*light.contrast, n))
