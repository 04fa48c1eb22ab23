"""Which tensors of a model are merged, and where each lies in one flat vector."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import torch
from torch import Tensor

from mergelib.vectors import fitting, reading, saving
from mergelib.vectors.checkpoint import FLOATS, Checkpoint, CheckpointError, open_checkpoint
from mergelib.vectors.segments import Segment, segments
from mergelib.vectors.selection import ALL, Selection

Patterns = str | Sequence[str]
"""Shell patterns on the names of tensors; see Selection."""


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

    Tensors that `selection` does not keep are neither merged nor kept: in no checkpoint are they
    looked at, so they may be missing there, or be of any shape and type. `left_out` are the
    names of those that the base has.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[torch.dtype, ...]
    offsets: tuple[int, ...]
    kept: Mapping[str, Tensor]
    exact: Mapping[str, Tensor]
    source: str
    selection: Selection = ALL
    left_out: tuple[str, ...] = ()

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Tensor],
        source: str = "base",
        *,
        ignore: Patterns = (),
        only: Patterns = (),
    ) -> "Layout":
        """The layout of a state dict; `source` is what error messages call it.

        Left out are the tensors whose names match no shell pattern of `only` (if there are any)
        or one of `ignore`; a string is one pattern. Raises CheckpointError (a ValueError) if no
        floating tensor is left, if one is of a type that can be neither merged nor kept, or if a
        pattern matches no tensor.
        """
        checkpoint = Checkpoint.of_state(state, source, Selection.of(only, ignore))
        return cls.from_checkpoint(checkpoint, ignore=ignore, only=only)

    @classmethod
    def from_file(
        cls, path: str | os.PathLike, *, ignore: Patterns = (), only: Patterns = ()
    ) -> "Layout":
        """The same of a safetensors file. Raises FileNotFoundError or CheckpointError."""
        with open_checkpoint(path, Selection.of(only, ignore)) as checkpoint:
            return cls.from_checkpoint(checkpoint, ignore=ignore, only=only)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        ignore: Patterns = (),
        only: Patterns = (),
        experts: Callable[[], Iterable[str]] = tuple,
    ) -> "Layout":
        """The same of an open checkpoint. `experts()` are the names of tensors that a pattern of
        `ignore` may match if it matches none of the checkpoint's; called only if one does not."""
        selection, source = Selection.of(only, ignore), checkpoint.source
        listed = (*checkpoint.shapes, *checkpoint.left_out)
        if unmatched := selection.unmatched(source, listed, experts):
            raise CheckpointError(unmatched)
        dtypes = {n: dtype for n, dtype in checkpoint.dtypes.items() if selection.keeps(n)}
        names = sorted(name for name in dtypes if dtypes[name] in FLOATS)
        shapes = tuple(checkpoint.shapes[name] for name in names)
        offsets = (0, *accumulate(prod(shape) for shape in shapes))
        if offsets[-1] == 0:
            but = " that only and ignore do not leave out" if selection else ""
            raise CheckpointError(f"{source} has no floating-point weights to merge{but}")
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
            source,
            selection,
            tuple(name for name in listed if name not in dtypes),
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
        left_out = f", {len(self.left_out)} left out" if self.left_out else ""
        return (
            f"Layout({self.source}: {len(self.names)} tensors, P={self.size:,}, "
            f"{len(self.kept)} kept buffers{left_out})"
        )

    def matches(self, other: "Layout") -> bool:
        """True if both layouts merge the same tensors of the same shapes, whatever is left out."""
        return self is other or (self.names == other.names and self.shapes == other.shapes)

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise CheckpointError unless the checkpoint has this layout's tensors, and no others
        but those that the selection leaves out.

        Any floating type fits any other. A kept buffer may be absent (the base's is used) and may
        differ in value, not in shape or type. The message names the tensor and both sources.
        """
        reading.check(self, checkpoint)

    def read(self, checkpoint: Checkpoint, out: Tensor | None = None) -> Tensor:
        """The checkpoint's merged tensors as one (P,) float32 vector, written to `out` if given.

        Raises CheckpointError, naming tensor and sources, if the checkpoint does not fit (see
        check) or holds numbers that are not finite in float32.
        """
        return reading.read(self, checkpoint, out)

    def read_delta(self, checkpoint: Checkpoint, base: Tensor, out: Tensor) -> Tensor:
        """τ = θ − θ0 of a checkpoint, written to `out` (P,); float64 tensors are subtracted in
        float64. `base` is θ0 as read() gives it. Raises what read() raises, and warns if the
        checkpoint is less precise than the base: rounding errors then look like training."""
        return reading.read_delta(self, checkpoint, base, out)

    def flatten(self, state: Mapping[str, Tensor], source: str = "state dict") -> Tensor:
        """The (P,) float32 vector of a state dict, on the device of its tensors.

        Raises CheckpointError naming the tensor, `source` and the layout's own source if a tensor
        is missing, extra, misshapen, wrongly typed or not finite.
        """
        return self.read(Checkpoint.of_state(state, source, self.selection))

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """The vector cut into the model's tensors: views of `vector` in the tensors' shapes.

        Gradients flow through the views to `vector`. Kept buffers are included, as copies on
        the vector's device; what was left out is not, see state_for. Raises ValueError unless
        `vector` is (P,).
        """
        self.require_size(vector)
        kept = {name: t.clone().to(vector.device) for name, t in self.kept.items()}
        return self.split(vector) | kept

    def split(self, vectors: Tensor) -> dict[str, Tensor]:
        """Vectors (…, P) cut into the merged tensors by name: views (…, *shape)."""
        # split, not slicing: its backward pass is one concatenation instead of one (P,) each.
        parts = zip(self.names, vectors.split(self.sizes, dim=-1), self.shapes, strict=True)
        return {name: part.view((*vectors.shape[:-1], *shape)) for name, part, shape in parts}

    def save(
        self,
        vector: Tensor,
        path: str | os.PathLike,
        rest: Mapping[str, Tensor] | str | os.PathLike | None = None,
    ) -> None:
        """Write the vector as a safetensors file in the base's own types, with kept buffers.

        Tensors that were left out are written as they are in `rest`, a state dict or a
        safetensors file: the base's, for a whole model as the base was, or an expert's, for one
        with that expert's head. rest={} writes the file without them.

        The file is complete or not there at all. Raises ValueError unless `vector` is (P,), and
        CheckpointError naming the tensor if a number is not finite in the type it is stored in,
        or if tensors of the base were left out and `rest` is not given or has none of them.
        """
        saving.save(self, vector, path, rest)

    def require_fits(self, module: torch.nn.Module) -> None:
        """Raise CheckpointError unless state_for can give the module these weights.

        Every merged tensor must be a parameter or buffer of the module, under its name in the
        module's state dict and of its shape. And every floating tensor of that state dict must be
        merged, tied to one that is, or left out. The message names the tensor, and says what to
        do if all names differ by a prefix.
        """
        fitting.require_fits(self, module)

    def state_for(self, module: torch.nn.Module, vector: Tensor) -> dict[str, Tensor]:
        """The module's complete state with the merged tensors of `vector` (P,), as
        torch.func.functional_call(module, state, inputs, strict=True) takes it.

        Merged tensors are views of `vector`; gradients flow to it from those that are parameters
        of the module. All else, integers and what was left out, is the module's own, detached, on
        the vector's device and, if floating, in its type; where these are the module's too, it
        shares the module's memory. All names of a tied parameter have one tensor: the merged one
        if one of them is merged, the mean if several are (equal ones stay what they are to the
        bit).

        Raises ValueError unless `vector` is (P,), CheckpointError if a merged tensor is missing
        from the module; call require_fits once before.
        """
        return fitting.state_for(self, module, vector)

    def segments(self, by: str = "model") -> list[Segment]:
        """The groups that a granularity divides the vector into; together they cover it once.

        by="model": one group. by="tensor": one per tensor, in the vector's order. by="block":
        one per residual block ("transformer.resblocks.3", "encoder.layers.3", …), by prefix and
        number; before them "embeddings" (what feeds the blocks), after them "head" (all else).
        Raises ValueError for any other word.
        """
        return segments(self.names, self.places, by)

    @property
    def places(self) -> list[slice]:
        """Where each tensor lies in the vector."""
        return [slice(a, b) for a, b in zip(self.offsets, self.offsets[1:], strict=False)]

    def require_size(self, vector: Tensor) -> None:
        """Raise ValueError unless `vector` is (P,)."""
        if tuple(vector.shape) != (self.size,):
            raise ValueError(
                f"a vector of the layout of {self.source} has shape ({self.size},), "
                f"not {tuple(vector.shape)}"
            )
