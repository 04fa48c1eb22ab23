"""Augmentation of a whole batch at once, on the device that holds it.

Every operation draws one set of random numbers per image from the generator given, so that a
seed fixes the batch; nothing is looped over images.
"""

import math

import torch
import torch.nn.functional as F

LUMA = (0.299, 0.587, 0.114)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low


def _chance(n: int, probability: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, generator=generator) < probability


def random_view(
    images: torch.Tensor,
    generator: torch.Generator,
    area: tuple[float, float] = (0.3, 1.0),
    aspect: float = 4 / 3,
    degrees: float = 15.0,
    flip: bool = True,
) -> torch.Tensor:
    """One random crop, turn and (if `flip`) mirror image of each picture, resampled once.

    `images` is (B, 3, H, W) float; the crop's share of the area is uniform in `area`, its
    aspect ratio log-uniform in [1/aspect, aspect], its angle uniform within ±`degrees`.
    Pixels outside the picture are mirrored in. Returns (B, 3, H, W).
    """
    n = len(images)
    share = _uniform(n, *area, generator).sqrt()
    ratio = torch.exp(_uniform(n, -math.log(aspect), math.log(aspect), generator)).sqrt()
    angle = _uniform(n, -degrees, degrees, generator) * (math.pi / 180)
    width, height = (share * ratio).clamp(max=1), (share / ratio).clamp(max=1)
    shift_x = _uniform(n, -1, 1, generator) * (1 - width)
    shift_y = _uniform(n, -1, 1, generator) * (1 - height)
    mirror = torch.ones(n)
    if flip:
        mirror[_chance(n, 0.5, generator)] = -1
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.stack(
        [
            torch.stack([width * cos * mirror, -height * sin, shift_x], dim=1),
            torch.stack([width * sin * mirror, height * cos, shift_y], dim=1),
        ],
        dim=1,
    ).to(images)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def random_colour(
    images: torch.Tensor,
    generator: torch.Generator,
    strength: float = 0.4,
    grey: float = 0.15,
    invert: float = 0.1,
    permute: float = 0.2,
) -> torch.Tensor:
    """Random brightness, contrast and saturation (factors within 1 ± `strength`), and with the
    given chances a permutation of the channels, an inversion, a grey version.

    `images` is (B, 3, H, W) in [0, 1]; so is the result.
    """
    n = len(images)
    factors = [
        _uniform(n, 1 - strength, 1 + strength, generator).view(n, 1, 1, 1).to(images)
        for _ in range(3)
    ]
    luma = torch.tensor(LUMA).view(1, 3, 1, 1).to(images)
    x = images * factors[0]
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * factors[1]
    grey_version = (x * luma).sum(dim=1, keepdim=True)
    x = grey_version + (x - grey_version) * factors[2]
    shuffle = _chance(n, permute, generator)
    order = torch.rand(n, 3, generator=generator).argsort(dim=1)
    order[~shuffle] = torch.arange(3)
    x = x.gather(1, order.view(n, 3, 1, 1).expand_as(x).to(x.device))
    turn = _chance(n, invert, generator).view(n, 1, 1, 1).to(images.device)
    x = torch.where(turn, 1 - x, x)
    drop = _chance(n, grey, generator).view(n, 1, 1, 1).to(images.device)
    x = torch.where(drop, (x * luma).sum(dim=1, keepdim=True).expand_as(x), x)
    return x.clamp(0, 1)


def random_sensor(
    images: torch.Tensor, generator: torch.Generator, blur: float = 0.2, noise: float = 0.2
) -> torch.Tensor:
    """With the given chances, a slight blur (3 × 3 binomial) and Gaussian noise up to 0.08.

    `images` is (B, 3, H, W) in [0, 1]; so is the result.
    """
    n, channels = images.shape[:2]
    line = torch.tensor([0.25, 0.5, 0.25]).to(images)
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3).contiguous()
    soft = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=channels)
    pick = _chance(n, blur, generator).view(n, 1, 1, 1).to(images.device)
    x = torch.where(pick, soft, images)
    level = _uniform(n, 0, 0.08, generator) * _chance(n, noise, generator)
    grain = torch.randn(images.shape, generator=generator).to(images)
    return (x + level.view(n, 1, 1, 1).to(images) * grain).clamp(0, 1)
