"""Checkpoints as vectors: whether they fit a layout, and their numbers in its order."""

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mergelib.vectors import passes
from mergelib.vectors.checkpoint import FLOATS, Checkpoint, CheckpointError, and_more

if TYPE_CHECKING:
    from mergelib.vectors.layout import Layout


def check(layout: "Layout", checkpoint: Checkpoint) -> None:
    """See Layout.check."""
    mine = dict(zip(layout.names, zip(layout.shapes, layout.dtypes, strict=True), strict=True))
    mine |= {name: (tuple(t.shape), t.dtype) for name, t in layout.kept.items()}
    shapes = {n: s for n, s in checkpoint.shapes.items() if layout.selection.keeps(n)}
    absent = [name for name in layout.names if name not in shapes]
    extra = sorted(name for name in shapes if name not in mine)
    for names, holder, lacking in (
        (absent, layout.source, checkpoint.source),
        (extra, checkpoint.source, layout.source),
    ):
        if names:
            raise CheckpointError(f"tensor {and_more(names)} of {holder} is missing from {lacking}")
    for name, shape in shapes.items():
        expected_shape, expected_dtype = mine[name]
        dtype = checkpoint.dtypes[name]
        if shape != expected_shape:
            raise CheckpointError(
                f"tensor {name!r} has shape {shape} in {checkpoint.source} "
                f"but {expected_shape} in {layout.source}"
            )
        if dtype != expected_dtype and not (dtype in FLOATS and expected_dtype in FLOATS):
            raise CheckpointError(
                f"tensor {name!r} is {_plain(dtype)} in {checkpoint.source} "
                f"but {_plain(expected_dtype)} in {layout.source}"
            )


def read(layout: "Layout", checkpoint: Checkpoint, out: Tensor | None) -> Tensor:
    """See Layout.read."""
    check(layout, checkpoint)
    if out is None:
        device = checkpoint.tensor(layout.names[0]).device
        out = torch.empty(layout.size, dtype=torch.float32, device=device)
    with passes.single_threaded_operations():
        for name, place in zip(layout.names, layout.places, strict=True):
            out[place].copy_(checkpoint.tensor(name).reshape(-1))
    _require_finite(layout, out, checkpoint.source)
    return out


def read_delta(layout: "Layout", checkpoint: Checkpoint, base: Tensor, out: Tensor) -> Tensor:
    """See Layout.read_delta."""
    read(layout, checkpoint, out)
    out.sub_(base)
    coarse = []
    for name, dtype, place in zip(layout.names, layout.dtypes, layout.places, strict=True):
        theirs = checkpoint.dtypes[name]
        if torch.float64 in (dtype, theirs):
            start = base[place].double()
            if name in layout.exact:
                start += layout.exact[name].reshape(-1).to(out.device)
            out[place] = checkpoint.tensor(name).reshape(-1).to(start) - start
        if torch.finfo(theirs).eps > torch.finfo(dtype).eps:
            coarse.append(name)
    if coarse:
        warnings.warn(
            f"{checkpoint.source} stores {len(coarse)} tensors (the first is {coarse[0]!r}) "
            f"less precisely than the base {layout.source}: its task vector contains their "
            "rounding errors",
            stacklevel=5,  # the caller of TaskVectors.from_files or from_states
        )
    return out


def require_finite(tensor: Tensor, name: str, source: str) -> None:
    """Raise CheckpointError naming the tensor if it holds a NaN or an infinite number."""
    bad = int((~tensor.isfinite()).sum())
    if bad:
        raise CheckpointError(
            f"tensor {name!r} of {source} holds {bad} of {tensor.numel()} numbers that are NaN, "
            "infinite or too large for its type"
        )


def _require_finite(layout: "Layout", vector: Tensor, source: str) -> None:
    # A sum is the fastest way to see a NaN or infinity; it may also overflow by itself,
    # therefore the second look.
    pieces = passes.columns(layout.size, vector.device)
    sums = passes.run(lambda batch: (vector[p].sum() for p in batch), pieces, vector.device)
    if bool(torch.stack(sums).isfinite().all()):
        return
    beside = "" if source == layout.source else f" (base: {layout.source})"
    for name, place in zip(layout.names, layout.places, strict=True):
        require_finite(vector[place], name, source + beside)


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
