"""A merged vector as a checkpoint file, in the types of the base."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mergelib.vectors.checkpoint import (
    Checkpoint,
    CheckpointError,
    and_more,
    open_checkpoint,
    save_checkpoint,
)
from mergelib.vectors.reading import require_finite

if TYPE_CHECKING:
    from mergelib.vectors.layout import Layout

Rest = Mapping[str, Tensor] | str | os.PathLike | None


def save(layout: "Layout", vector: Tensor, path: str | os.PathLike, rest: Rest) -> None:
    """See Layout.save."""
    if layout.left_out and rest is None:
        raise CheckpointError(
            f"tensor {and_more(layout.left_out)} of {layout.source} was left out: pass rest=, a "
            "file or state dict to take such tensors from, or rest={} to save the model without "
            "them"
        )
    state = layout.unflatten(vector.detach().cpu())
    for name, dtype in zip(layout.names, layout.dtypes, strict=True):
        tensor = state[name].to(dtype)
        if name in layout.exact:
            tensor = tensor + layout.exact[name]
        if not bool(tensor.sum(dtype=torch.float32).isfinite()):
            require_finite(tensor, name, f"the model to be saved as {path}")
        state[name] = tensor
    save_checkpoint(state | _left_out(layout, rest), path)


def _left_out(layout: "Layout", rest: Rest) -> dict[str, Tensor]:
    """Copies of the tensors of `rest` that were left out."""
    if not (layout.selection and rest):
        return {}
    if isinstance(rest, Mapping):
        tensors = {name: value for name, value in rest.items() if isinstance(value, Tensor)}
        view = nullcontext(Checkpoint.of_state(tensors, "rest", layout.selection))
    else:
        view = open_checkpoint(rest, layout.selection)
    with view as checkpoint:
        if layout.left_out and not checkpoint.left_out:
            raise CheckpointError(
                f"tensor {and_more(layout.left_out)} of {layout.source} was left out, and "
                f"{checkpoint.source} has no such tensor"
            )
        tensors = {name: checkpoint.tensor(name) for name in checkpoint.left_out}
        # What shares memory or has gaps in it cannot be written.
        return {n: t.cpu().contiguous().clone() for n, t in tensors.items()}
