"""Sparse tensors in a file: the values that are kept, and a byte or so for where each is."""

import torch
from torch import Tensor

SKIP = 255  # a byte of this value passes as many zeros and places nothing


def encode(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """(gaps, values): how many zeros lie before each kept number in row-major order, uint8.

    A gap g is ⌊g / 255⌋ bytes of 255 and one of g mod 255; at the density c that is about
    1 + c^−1 / 255 bytes a number, against 4 for an index.
    """
    flat = tensor.detach().reshape(-1)
    places = flat.nonzero().squeeze(1)
    zeros = places.diff(prepend=places.new_tensor([-1])) - 1
    lengths = zeros // SKIP + 1
    gaps = torch.full((int(lengths.sum()),), SKIP, dtype=torch.uint8, device=flat.device)
    gaps[lengths.cumsum(0) - 1] = (zeros % SKIP).to(torch.uint8)
    return gaps, flat[places]


def decode(gaps: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The tensor of that shape; ValueError if gaps and values do not fit each other or it."""
    tensor = values.new_zeros(shape)
    placing = gaps != SKIP
    reached = (gaps.long() + placing).cumsum(0)
    last = int(reached[-1]) if len(reached) else 0
    if int(placing.sum()) != len(values) or last > tensor.numel():
        raise ValueError(
            f"{int(placing.sum())} places up to {last} do not fit {len(values)} values and a "
            f"tensor of shape {tuple(shape)}"
        )
    tensor.view(-1)[reached[placing] - 1] = values
    return tensor
