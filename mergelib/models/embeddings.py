"""The names of a transformer's bare parameters: extra tokens, positions, projections.

Some models keep as parameters of no layer what they put in front of the patches or add to all
tokens, and a matrix that is applied to the pooled features from the right.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

FIRST = ("class_embedding", "cls_token")  # one row (d,), (1, d) or (1, 1, d)
NEXT = ("distillation_token", "dist_token", "reg_token", "register_tokens")  # rows after it
POSITIONS = ("positional_embedding", "position_embedding", "position_embeddings", "pos_embed")
PROJECTIONS = ("proj", "text_projection")


def last_word(name: str) -> str:
    """The last word of a tensor's dotted name, not counting `weight`."""
    return name.removesuffix(".weight").rpartition(".")[2]


def untied(model: torch.nn.Module) -> dict[str, Tensor]:
    """The state of a model in which a tensor of several names has the first of them only."""
    state, names = model.state_dict(keep_vars=True), {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), name)
    return {name: state[name].detach() for name in names.values()}


def lookups(model: torch.nn.Module) -> set[str]:
    """The names of the tables from which rows are looked up by number."""
    return {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, torch.nn.Embedding)}


def extra_tokens(tensors: Mapping[str, Tensor]) -> int:
    """How many tokens a vision transformer puts in front of its patches."""
    found = [t for n, t in tensors.items() if last_word(n) in FIRST + NEXT]
    return sum(t.numel() // t.shape[-1] for t in found)
