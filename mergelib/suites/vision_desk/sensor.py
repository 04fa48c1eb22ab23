"""What lens, hand and sensor do to a picture: defocus, motion blur, noise, 8 bits."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

RADIUS = 5


@dataclass(frozen=True)
class Sensor:
    """Ranges: blur is the defocus' standard deviation and motion the length of the movement,
    both in pixels; noise is the grain's standard deviation (of full scale)."""

    blur: tuple[float, float] = (0.3, 0.8)
    motion: tuple[float, float] = (0.0, 2.0)
    noise: tuple[float, float] = (0.0, 0.04)


def blur_kernels(n: int, sensor: Sensor, rng: np.random.Generator) -> torch.Tensor:
    """(n, k, k): a Gaussian smeared along a line of random direction, summing to one."""
    line = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float32)
    angle, length = rng.uniform(0, np.pi, n), rng.uniform(*sensor.motion, n)
    steps = np.linspace(-0.5, 0.5, 9)
    centres = torch.as_tensor(
        np.stack([np.cos(angle), np.sin(angle)], 1)[:, :, None]
        * (length[:, None] * steps)[:, None],
        dtype=torch.float32,
    )
    sigma = torch.as_tensor(rng.uniform(*sensor.blur, n), dtype=torch.float32).clamp(min=0.15)
    bell = torch.exp(-((line - centres[..., None]) ** 2) / (2 * sigma.view(n, 1, 1, 1) ** 2))
    kernels = torch.einsum("nsx,nsy->nyx", bell[:, 0], bell[:, 1])
    return kernels / kernels.sum(dim=(1, 2), keepdim=True)


def expose(images: torch.Tensor, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """Images (n, 3, H, W) through lens and sensor: (n, H, W, 3) uint8."""
    n = len(images)
    kernels = blur_kernels(n, sensor, rng).repeat_interleave(3, dim=0).unsqueeze(1)
    padded = F.pad(images, (RADIUS,) * 4, mode="replicate")
    soft = F.conv2d(padded.flatten(0, 1).unsqueeze(0), kernels, groups=3 * n).view_as(images)
    level = rng.uniform(*sensor.noise, n).reshape(n, 1, 1, 1)
    grain = rng.standard_normal(images.shape, dtype=np.float32) * level
    pixels = np.clip(np.rint((soft.numpy() + grain) * 255), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
