"""Which tensors of a model are merged, and where each lies in one flat vector."""

import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor

from mergelib.vectors import passes
from mergelib.vectors.checkpoint import (
    FLOATS,
    Checkpoint,
    CheckpointError,
    open_checkpoint,
    save_checkpoint,
)

GRANULARITIES = ("model", "block", "tensor")

_BLOCK = re.compile(r"(?:^|.*?\.)(?:resblocks|layers?|blocks?|h|stages?|layer\d+)\.(\d+)(?=\.)")
_EMBEDDING = re.compile(r"embed|patch|conv1|bn1|stem|ln_pre|pre_layrnorm|norm_pre|_token|pos_")


class Segment(NamedTuple):
    """A named group of coordinates: the slices of the flat vector that it consists of."""

    name: str
    slices: tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """The map between a model's tensors and one vector of P = `size` float32 numbers.

    Tensors of floating type are merged: they lie in the vector one after the other, sorted by
    name (as Python sorts strings), each in row-major order, so the vector does not depend on
    the order in which a file or a dict lists them. `offsets[i] : offsets[i + 1]` is tensor i.
    Integer and boolean tensors are buffers, not weights: those of the base are `kept` as they
    are and never merged.

    All computation is in float32. What float32 cannot hold of a float64 base is in `exact`
    (name → float64 remainder, 0 in total for other types), and is added back on saving, so
    that a saved base is the base to the bit.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    offsets: tuple[int, ...]
    kept: Mapping[str, Tensor]
    exact: Mapping[str, Tensor]
    source: str

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], source: str = "base") -> "Layout":
        """The layout of a state dict; `source` is what error messages call it.

        Raises CheckpointError (a ValueError) if it has no floating tensor or one of a type that
        can be neither merged nor kept.
        """
        return cls.from_checkpoint(Checkpoint.of_state(state, source))

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> "Layout":
        """The layout of a safetensors file. Raises FileNotFoundError or CheckpointError."""
        with open_checkpoint(path) as checkpoint:
            return cls.from_checkpoint(checkpoint)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "Layout":
        """The layout of an open checkpoint; see from_state."""
        dtypes = checkpoint.dtypes
        names = sorted(name for name in dtypes if dtypes[name] in FLOATS)
        shapes = tuple(checkpoint.shapes[name] for name in names)
        offsets = (0, *accumulate(prod(shape) for shape in shapes))
        if offsets[-1] == 0:
            raise CheckpointError(f"{checkpoint.source} has no floating-point weights to merge")
        kept = {n: checkpoint.tensor(n).cpu().clone() for n in dtypes if dtypes[n] not in FLOATS}
        double = {n: checkpoint.tensor(n).cpu() for n in names if dtypes[n] == torch.float64}
        return cls(
            tuple(names),
            shapes,
            tuple(dtypes[name] for name in names),
            offsets,
            kept,
            # Written so that a remainder of zero is −0, the zero that added leaves −0 as it is.
            {name: -(t.float().double() - t) for name, t in double.items()},
            checkpoint.source,
        )

    @property
    def size(self) -> int:
        """P, the number of merged parameters."""
        return self.offsets[-1]

    @property
    def sizes(self) -> list[int]:
        """How many numbers each tensor has, in the vector's order."""
        return [prod(shape) for shape in self.shapes]

    def __repr__(self) -> str:
        return (
            f"Layout({self.source}: {len(self.names)} tensors, P={self.size:,}, "
            f"{len(self.kept)} kept buffers)"
        )

    def matches(self, other: "Layout") -> bool:
        """True if both layouts name the same tensors with the same shapes."""
        return self is other or (self.names == other.names and self.shapes == other.shapes)

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise CheckpointError unless the checkpoint has this layout's tensors, and no others.

        Any floating type fits any other. A kept buffer may be absent (the base's is used) and may
        differ in value, not in shape or type. The message names the tensor and both sources.
        """
        mine = dict(zip(self.names, zip(self.shapes, self.dtypes, strict=True), strict=True))
        mine |= {name: (tuple(t.shape), t.dtype) for name, t in self.kept.items()}
        absent = [name for name in self.names if name not in checkpoint.shapes]
        extra = sorted(name for name in checkpoint.shapes if name not in mine)
        for names, holder, lacking in (
            (absent, self.source, checkpoint.source),
            (extra, checkpoint.source, self.source),
        ):
            if names:
                more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
                raise CheckpointError(
                    f"tensor {names[0]!r}{more} of {holder} is missing from {lacking}"
                )
        for name, shape in checkpoint.shapes.items():
            expected_shape, expected_dtype = mine[name]
            dtype = checkpoint.dtypes[name]
            if shape != expected_shape:
                raise CheckpointError(
                    f"tensor {name!r} has shape {shape} in {checkpoint.source} "
                    f"but {expected_shape} in {self.source}"
                )
            if dtype != expected_dtype and not (dtype in FLOATS and expected_dtype in FLOATS):
                raise CheckpointError(
                    f"tensor {name!r} is {_plain(dtype)} in {checkpoint.source} "
                    f"but {_plain(expected_dtype)} in {self.source}"
                )

    def read(self, checkpoint: Checkpoint, out: Tensor | None = None) -> Tensor:
        """The checkpoint's merged tensors as one (P,) float32 vector, written to `out` if given.

        Raises CheckpointError, naming tensor and sources, if the checkpoint does not fit (see
        check) or holds numbers that are not finite in float32.
        """
        self.check(checkpoint)
        if out is None:
            device = checkpoint.tensor(self.names[0]).device
            out = torch.empty(self.size, dtype=torch.float32, device=device)
        with passes.single_threaded_operations():
            for name, place in zip(self.names, self._places(), strict=True):
                out[place].copy_(checkpoint.tensor(name).reshape(-1))
        self._require_finite(out, checkpoint.source)
        return out

    def read_delta(self, checkpoint: Checkpoint, base: Tensor, out: Tensor) -> Tensor:
        """τ = θ − θ0 of a checkpoint, written to `out` (P,); float64 tensors are subtracted in
        float64. `base` is θ0 as read() gives it. Raises what read() raises, and warns if the
        checkpoint is less precise than the base: rounding errors then look like training."""
        self.read(checkpoint, out)
        out.sub_(base)
        coarse = []
        for name, dtype, place in zip(self.names, self.dtypes, self._places(), strict=True):
            theirs = checkpoint.dtypes[name]
            if torch.float64 in (dtype, theirs):
                start = base[place].double()
                if name in self.exact:
                    start += self.exact[name].reshape(-1).to(out.device)
                out[place] = checkpoint.tensor(name).reshape(-1).to(start) - start
            if torch.finfo(theirs).eps > torch.finfo(dtype).eps:
                coarse.append(name)
        if coarse:
            warnings.warn(
                f"{checkpoint.source} stores {len(coarse)} tensors (the first is {coarse[0]!r}) "
                f"less precisely than the base {self.source}: its task vector contains their "
                "rounding errors",
                stacklevel=4,
            )
        return out

    def flatten(self, state: Mapping[str, Tensor], source: str = "state dict") -> Tensor:
        """The (P,) float32 vector of a state dict, on the device of its tensors.

        Raises CheckpointError naming the tensor, `source` and the layout's own source if a tensor
        is missing, extra, misshapen, wrongly typed or not finite.
        """
        return self.read(Checkpoint.of_state(state, source))

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """The vector cut into the model's tensors: views of `vector` in the tensors' shapes.

        Gradients flow through the views to `vector`. Kept buffers are included, as copies on
        the vector's device. Raises ValueError unless `vector` is (P,).
        """
        self._require_size(vector)
        kept = {name: t.clone().to(vector.device) for name, t in self.kept.items()}
        return self.split(vector) | kept

    def split(self, vectors: Tensor) -> dict[str, Tensor]:
        """Vectors (…, P) cut into the merged tensors by name: views (…, *shape)."""
        # split, not slicing: its backward pass is one concatenation instead of one (P,) each.
        parts = zip(self.names, vectors.split(self.sizes, dim=-1), self.shapes, strict=True)
        return {name: part.view((*vectors.shape[:-1], *shape)) for name, part, shape in parts}

    def save(self, vector: Tensor, path: str | os.PathLike) -> None:
        """Write the vector as a safetensors file in the base's own types, with kept buffers.

        The file is complete or not there at all. Raises ValueError unless `vector` is (P,),
        and CheckpointError naming the tensor if a number is not finite in the type it is
        stored in.
        """
        state = self.unflatten(vector.detach().cpu())
        for name, dtype in zip(self.names, self.dtypes, strict=True):
            tensor = state[name].to(dtype)
            if name in self.exact:
                tensor = tensor + self.exact[name]
            if not bool(tensor.sum(dtype=torch.float32).isfinite()):
                _raise_if_infinite(tensor, name, f"the model to be saved as {path}")
            state[name] = tensor
        save_checkpoint(state, path)

    def segments(self, by: str = "model") -> list[Segment]:
        """The groups that a granularity divides the vector into; together they cover it once.

        by="model": one group. by="tensor": one per tensor, in the vector's order. by="block":
        one per residual block ("transformer.resblocks.3", "encoder.layers.3", …), by prefix and
        number; before them "embeddings" (what feeds the blocks), after them "head" (all else).
        Raises ValueError for any other word.
        """
        if by not in GRANULARITIES:
            raise ValueError(f"granularity must be one of {', '.join(GRANULARITIES)}, not {by!r}")
        if by == "model":
            return [Segment("model", (slice(0, self.size),))]
        if by == "tensor":
            return [Segment(n, (p,)) for n, p in zip(self.names, self._places(), strict=True)]
        groups: dict[tuple, list[slice]] = {}
        for name, place in zip(self.names, self._places(), strict=True):
            slices = groups.setdefault(_block(name), [])
            if slices and slices[-1].stop == place.start:
                slices[-1] = slice(slices[-1].start, place.stop)
            else:
                slices.append(place)
        return [Segment(key[-1], tuple(groups[key])) for key in sorted(groups)]

    def _places(self) -> list[slice]:
        return [slice(a, b) for a, b in zip(self.offsets, self.offsets[1:], strict=False)]

    def _require_size(self, vector: Tensor) -> None:
        if tuple(vector.shape) != (self.size,):
            raise ValueError(
                f"a vector of the layout of {self.source} has shape ({self.size},), "
                f"not {tuple(vector.shape)}"
            )

    def _require_finite(self, vector: Tensor, source: str) -> None:
        # A sum is the fastest way to see a NaN or infinity; it may also overflow by itself,
        # therefore the second look.
        pieces = passes.columns(self.size, vector.device)
        sums = passes.run(lambda batch: (vector[p].sum() for p in batch), pieces, vector.device)
        if bool(torch.stack(sums).isfinite().all()):
            return
        beside = "" if source == self.source else f" (base: {self.source})"
        for name, place in zip(self.names, self._places(), strict=True):
            _raise_if_infinite(vector[place], name, source + beside)


def _block(name: str) -> tuple:
    """Sorting key of a tensor's block, ending in the block's name."""
    if found := _BLOCK.match(name):
        return (1, name[: found.start(1)], int(found[1]), found[0])
    return (0, "", 0, "embeddings") if _EMBEDDING.search(name) else (2, "", 0, "head")


def _raise_if_infinite(tensor: Tensor, name: str, source: str) -> None:
    bad = int((~tensor.isfinite()).sum())
    if bad:
        raise CheckpointError(
            f"tensor {name!r} of {source} holds {bad} of {tensor.numel()} numbers that are NaN, "
            "infinite or too large for its type"
        )


def _plain(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
