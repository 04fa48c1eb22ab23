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
    given chances a permutation of the channels, a grey version, an inversion.

    Each of these is affine in the colour of a pixel, and all of them keep grey grey, so an
    image is transformed once: x ↦ M x + o with M (3, 3) and one number o.
    `images` is (B, 3, H, W) in [0, 1]; so is the result.
    """
    n = len(images)
    bright, contrast, saturation = (
        _uniform(n, 1 - strength, 1 + strength, generator).view(n, 1, 1) for _ in range(3)
    )
    to_grey = torch.tensor(LUMA).expand(3, 3)
    matrix = saturation * torch.eye(3) + (1 - saturation) * to_grey
    order = torch.rand(n, 3, generator=generator).argsort(dim=1)
    order[~_chance(n, permute, generator)] = torch.arange(3)
    matrix = matrix.gather(1, order.view(n, 3, 1).expand(n, 3, 3))
    drop = _chance(n, grey, generator).view(n, 1, 1)
    matrix = torch.where(drop, to_grey, matrix) * bright * contrast
    mean = images.mean(dim=(1, 2, 3)).view(n, 1, 1).cpu()
    offset = (1 - contrast) * bright * mean
    turn = _chance(n, invert, generator).view(n, 1, 1)
    matrix, offset = torch.where(turn, -matrix, matrix), torch.where(turn, 1 - offset, offset)
    x = torch.baddbmm(offset.to(images), matrix.to(images), images.flatten(2))
    return x.clamp_(0, 1).view_as(images)


def random_sensor(
    images: torch.Tensor, generator: torch.Generator, blur: float = 0.2, noise: float = 0.2
) -> torch.Tensor:
    """With the given chances, a slight blur (3 × 3 binomial) and Gaussian noise up to 0.08.

    `images` is (B, 3, H, W) in [0, 1]; so is the result.
    """
    n, channels = images.shape[:2]
    x = images.clone()
    soft = _chance(n, blur, generator).nonzero()[:, 0].to(images.device)
    line = torch.tensor([0.25, 0.5, 0.25]).to(images)
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3).contiguous()
    padded = F.pad(images[soft], (1, 1, 1, 1), mode="reflect")
    x[soft] = F.conv2d(padded, kernel, groups=channels)
    grainy = _chance(n, noise, generator).nonzero()[:, 0]
    level = _uniform(len(grainy), 0, 0.08, generator).view(-1, 1, 1, 1)
    grain = level * torch.randn((len(grainy), *images.shape[1:]), generator=generator)
    grainy = grainy.to(images.device)
    x[grainy] = (x[grainy] + grain.to(images)).clamp(0, 1)
    return x
