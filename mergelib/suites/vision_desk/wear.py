"""Age of painted things: faded colours, and dirt in patches."""

import numpy as np
import torch
import torch.nn.functional as F


def weathered(
    objects: np.ndarray, fade: float, dirt: float, rng: np.random.Generator
) -> np.ndarray:
    """Objects (n, h, w, 4) uint8, each mixed with grey by up to `fade` and darkened in smooth
    patches by up to `dirt` (shares of full scale); the alpha channel stays."""
    n, height, width, _ = objects.shape
    out = objects.copy()
    for start in range(0, n, 250):
        part = objects[start : start + 250, ..., :3].astype(np.float32)
        m = len(part)
        coarse = torch.from_numpy(rng.random((m, 1, 7, 7), dtype=np.float32))
        field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
        patch = (field.numpy()[:, 0, :, :, None] - 0.45).clip(0, 0.5) * 2
        share = rng.uniform(0, fade, (m, 1, 1, 1)).astype(np.float32)
        grey = rng.uniform(90, 200, (m, 1, 1, 1)).astype(np.float32)
        stain = rng.uniform(0, dirt, (m, 1, 1, 1)).astype(np.float32)
        aged = (part * (1 - share) + grey * share) * (1 - stain * patch)
        out[start : start + 250, ..., :3] = aged.clip(0, 255).astype(np.uint8)
    return out
