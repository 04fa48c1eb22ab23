"""Small random models for the tests: states of every kind of tensor, and task vectors."""

import torch
from torch import Tensor

from mergelib import Layout, TaskVectors

SHAPES = {
    "visual.conv1.weight": (4, 3, 2, 2),
    "visual.class_embedding": (4,),
    "visual.transformer.resblocks.0.attn.in_proj_weight": (12, 4),
    "visual.transformer.resblocks.0.ln_1.bias": (4,),
    "visual.transformer.resblocks.2.mlp.c_fc.weight": (8, 4),
    "visual.transformer.resblocks.10.mlp.c_fc.weight": (8, 4),
    "visual.ln_post.weight": (4,),
    "visual.proj": (4, 5),
    "logit_scale": (),
    "empty": (0, 3),
}


def random_state(
    seed: int, dtype: torch.dtype = torch.float32, near: dict | None = None
) -> dict[str, Tensor]:
    """A state dict of SHAPES with an integer and a boolean buffer; close to `near` if given."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in SHAPES.items():
        values = torch.randn(shape, generator=generator)
        state[name] = (values if near is None else near[name].float() + 0.1 * values).to(dtype)
    return state | {
        "position_ids": torch.arange(7).unsqueeze(0),
        "mask": torch.tensor([True, False]),
    }


def one_tensor(deltas: Tensor, base: Tensor | None = None) -> TaskVectors:
    """Task vectors a, b, c, … of a model that is one tensor "w" of P numbers; base 0 by default."""
    tasks, size = deltas.shape
    base = torch.zeros(size) if base is None else base
    return TaskVectors("abcdefghij"[:tasks], base, deltas, Layout.from_state({"w": base}))
