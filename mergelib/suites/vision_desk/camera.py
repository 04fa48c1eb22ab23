"""Where a flat object ends up in the picture: homographies, and images warped by them."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Pose:
    """Ranges of a flat object's pose before the camera.

    scale: share of the picture's width that the object's canvas takes (log-uniform);
    degrees: turn within ±; aspect: width / height log-uniform in [1/aspect, aspect];
    shear and tilt: sideways slant and perspective within ±; shift: displacement of the centre
    within ±, in half picture widths.
    """

    scale: tuple[float, float] = (0.8, 1.0)
    degrees: float = 10.0
    aspect: float = 1.1
    shear: float = 0.1
    tilt: float = 0.15
    shift: float = 0.08


def random_homographies(n: int, pose: Pose, rng: np.random.Generator) -> np.ndarray:
    """(n, 3, 3) matrices taking the object's canvas [-1, 1]² into the picture [-1, 1]²."""
    scale = np.exp(rng.uniform(*np.log(pose.scale), n))
    aspect = np.exp(rng.uniform(-np.log(pose.aspect), np.log(pose.aspect), n) / 2)
    angle = np.deg2rad(rng.uniform(-pose.degrees, pose.degrees, n))
    slant = rng.uniform(-pose.shear, pose.shear, n)
    cos, sin = np.cos(angle), np.sin(angle)
    wide, high = scale * aspect, scale / aspect
    matrix = np.zeros((n, 3, 3))
    matrix[:, 0, 0] = cos * wide
    matrix[:, 0, 1] = (cos * slant - sin) * high
    matrix[:, 1, 0] = sin * wide
    matrix[:, 1, 1] = (sin * slant + cos) * high
    matrix[:, :2, 2] = rng.uniform(-pose.shift, pose.shift, (n, 2))
    matrix[:, 2, :2] = rng.uniform(-pose.tilt, pose.tilt, (n, 2))
    matrix[:, 2, 2] = 1
    return matrix


def pixel_grid(size: int) -> torch.Tensor:
    """Centres of a square picture's pixels in [-1, 1]², (size, size, 2) as (x, y)."""
    line = (torch.arange(size) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1)


def project(matrix: np.ndarray, points: torch.Tensor) -> torch.Tensor:
    """Homographies (n, 3, 3) applied to points (..., 2): (n, ..., 2)."""
    m = torch.as_tensor(matrix, dtype=torch.float32)
    flat = points.reshape(-1, 2)
    mapped = flat @ m[:, :, :2].transpose(1, 2) + m[:, None, :, 2]
    mapped = mapped[..., :2] / mapped[..., 2:].clamp(min=1e-3)
    return mapped.reshape(len(m), *points.shape)


def warp(layers: torch.Tensor, matrix: np.ndarray, size: int) -> torch.Tensor:
    """Layers (n, C, h, w) seen through the homographies, as (n, C, size, size).

    Sampled at twice the size and averaged down; zero (transparent) outside the layer, so
    colours with an alpha channel must come premultiplied.
    """
    grid = project(np.linalg.inv(matrix), pixel_grid(2 * size))
    seen = F.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return F.avg_pool2d(seen, 2)
