"""Reading and writing checkpoints: safetensors files and state dicts behind one small view."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mergelib.cache.storage import atomic
from mergelib.vectors.selection import ALL, Selection

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
KEPT = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

_FILE_TYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
}


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not fit the base; the message says where."""


@dataclass(frozen=True)
class Checkpoint:
    """Shapes and types of a checkpoint's tensors by name, and `tensor(name)` to read one.

    `left_out` are the names that a selection did not keep: nothing else is known of them.
    """

    source: str
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, torch.dtype]
    tensor: Callable[[str], Tensor]
    left_out: tuple[str, ...] = ()

    @classmethod
    def of_state(
        cls, state: Mapping[str, Tensor], source: str, selection: Selection = ALL
    ) -> "Checkpoint":
        """The view of a state dict. `source` is what error messages call it.

        Raises CheckpointError for an entry that the selection keeps and that is no tensor of a
        type that can be merged or kept.
        """
        kept = {name: value for name, value in state.items() if selection.keeps(name)}
        for name, value in kept.items():
            if not isinstance(value, Tensor):
                raise CheckpointError(
                    f"entry {name!r} of {source} is a {type(value).__name__}, not a tensor"
                )
            if value.layout != torch.strided or value.dtype not in FLOATS + KEPT:
                raise _wrong_type(name, source, str(value.dtype).removeprefix("torch."))
        return cls(
            source,
            {name: tuple(value.shape) for name, value in kept.items()},
            {name: value.dtype for name, value in kept.items()},
            lambda name: state[name].detach(),
            tuple(name for name in state if name not in kept),
        )


@contextmanager
def open_checkpoint(path: str | os.PathLike, selection: Selection = ALL) -> Iterator[Checkpoint]:
    """A safetensors file as a Checkpoint while the `with` block runs.

    Tensors are views of the memory-mapped file: copy what has to outlive the block.
    Raises FileNotFoundError if there is no such file, CheckpointError if it is not a complete
    safetensors file or if a tensor that the selection keeps is of a type that can be neither
    merged nor kept.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"checkpoint {path} {what}")
    try:
        # An unreadable file must not be confused with an error in the caller's block.
        file = safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"checkpoint {path} is not a complete safetensors file ({error})"
        ) from error
    with file:
        shapes, dtypes, left_out = {}, {}, []
        for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
            if not selection.keeps(name):
                left_out.append(name)
                continue
            entry = file.get_slice(name)
            if entry.get_dtype() not in _FILE_TYPES:
                raise _wrong_type(name, str(path), entry.get_dtype())
            shapes[name] = tuple(entry.get_shape())
            dtypes[name] = _FILE_TYPES[entry.get_dtype()]
        yield Checkpoint(str(path), shapes, dtypes, file.get_tensor, tuple(left_out))


def save_checkpoint(state: Mapping[str, Tensor], path: str | os.PathLike) -> None:
    """Write a safetensors file that is either complete or not there at all."""
    with atomic(path) as temporary:
        save_file(dict(state), temporary, metadata={"format": "pt"})


def and_more(names: Sequence[str]) -> str:
    """For messages: the first of the names and how many there are beside it."""
    return repr(names[0]) + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def _wrong_type(name: str, source: str, dtype: str) -> CheckpointError:
    return CheckpointError(
        f"tensor {name!r} of {source} is {dtype}; only float16, bfloat16, float32 and float64 "
        "are merged, and only integers and booleans are kept"
    )
