"""Task arithmetic."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mergelib.methods.entry import method
from mergelib.vectors.task_vectors import TaskVectors


@method(title="Task arithmetic", family="static", paper="ilharco2023editing")
def task_arithmetic(tv: TaskVectors, scale: float | Sequence[float] | Tensor = 0.3) -> Tensor:
    """θ = θ0 + Σ_k λ_k τ_k, (P,), with one λ = `scale` for all tasks or one for each, (K,).

    Ilharco et al. 2023, "Editing models with task arithmetic", section 2. A negative λ_k
    makes the model forget task k. λ = 0 gives θ0 to the bit; λ = 1 with K = 1 gives the expert up
    to the rounding of two float32 additions. If `scale` is a tensor that requires a gradient, the
    result carries it. Raises ValueError for a scale that is not finite or of another length.
    """
    scales = task_scales(scale, tv)
    if not scales.requires_grad and not bool(scales.any()):
        return tv.base.clone()  # adding zeros would turn −0 into +0
    return torch.addmv(tv.base, tv.deltas.T, scales)


def task_scales(scale: float | Sequence[float] | Tensor, tv: TaskVectors) -> Tensor:
    """One finite coefficient per task, (K,), from one number or K of them; else ValueError."""
    scales = torch.as_tensor(scale, dtype=tv.base.dtype, device=tv.device)
    if scales.dim() > 0 and scales.shape != (len(tv),):
        raise ValueError(
            f"scale must be one number or {len(tv)}, one per task, "
            f"not of shape {tuple(scales.shape)}"
        )
    if not bool(scales.isfinite().all()):
        raise ValueError(f"scale must be finite, not {scale}")
    return scales.expand(len(tv)).contiguous()
