"""Merged tensors in a module: whether they fit it, and its complete state with them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mergelib.vectors.checkpoint import CheckpointError, and_more

if TYPE_CHECKING:
    from mergelib.vectors.layout import Layout


def require_fits(layout: "Layout", module: torch.nn.Module) -> None:
    """See Layout.require_fits."""
    state = {n: t for n, t in module.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
    absent = [name for name in layout.names if name not in state]
    if absent:
        raise CheckpointError(
            f"tensor {and_more(absent)} of {layout.source} is missing from the model"
            f"{_prefix_advice(layout, tuple(state))}"
        )
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        theirs = state[name]
        if tuple(theirs.shape) != shape:
            raise CheckpointError(
                f"tensor {name!r} has shape {shape} in {layout.source} "
                f"but {tuple(theirs.shape)} in the model"
            )
        if not theirs.is_floating_point():
            dtype = str(theirs.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"tensor {name!r} of {layout.source} is merged but is {dtype} in the model"
            )
    merged = {_memory(state[name]) for name in layout.names}
    extra = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point()
        and layout.selection.keeps(name)
        and _memory(tensor) not in merged
    ]
    if extra:
        raise CheckpointError(
            f"tensor {and_more(extra)} of the model is missing from {layout.source}"
            f"{_only_advice(layout, extra)}"
        )


def state_for(layout: "Layout", module: torch.nn.Module, vector: Tensor) -> dict[str, Tensor]:
    """See Layout.state_for."""
    layout.require_size(vector)
    return complete(module, layout.split(vector), layout.source)


def complete(
    module: torch.nn.Module, tensors: Mapping[str, Tensor], source: str = "the weights"
) -> dict[str, Tensor]:
    """The module's complete state with some floating tensors of one type, as Layout.state_for
    makes it of the merged ones. Raises CheckpointError for a name that the module does not have."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    own = parameters | dict(module.named_buffers(remove_duplicate=False))
    absent = [name for name in tensors if name not in own]
    if absent:
        raise CheckpointError(f"tensor {and_more(absent)} of {source} is missing from the model")
    tied: dict[object, list[Tensor]] = {}
    for name, tensor in tensors.items():
        # Operations that take buffers (running means) refuse those that ask for a gradient.
        tensor = tensor if name in parameters else tensor.detach()
        tied.setdefault(_memory(own[name]), []).append(tensor)
    # One tensor for all names of a tied parameter: functional_call insists on it.
    shared = {place: _mean(several) for place, several in tied.items()}
    like, state = next(iter(tensors.values())), {}
    for name, tensor in own.items():
        if (place := _memory(tensor)) not in shared:
            dtype = like.dtype if tensor.is_floating_point() else tensor.dtype
            shared[place] = tensor.detach().to(like.device, dtype)
        state[name] = shared[place]
    return state


def _memory(tensor: Tensor) -> object:
    """The same for two names of one tensor, and for two tensors that are one in memory."""
    if tensor.device.type == "meta" or not tensor.numel():
        return id(tensor)
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """The mean, written so that the mean of equal tensors is what they are to the bit."""
    first, *others = tensors
    if not others:
        return first
    return first + sum(tensor - first for tensor in others) / len(tensors)


def _only_advice(layout: "Layout", extra: Sequence[str]) -> str:
    """How to leave `extra` to the model, if a pattern or a few say it."""
    tops = {name.split(".")[0]: "." in name for name in layout.names}
    if len(tops) > 4 or any(name.split(".")[0] in tops for name in extra):
        return ""
    patterns = ", ".join(repr(f"{top}.*" if parts else top) for top, parts in tops.items())
    return f"; task vectors made with only=[{patterns}] leave it to the model"


def _prefix_advice(layout: "Layout", theirs: Sequence[str]) -> str:
    """What to do if the names of all merged tensors differ from the model's by one prefix."""
    found = _prefixes(layout.names, theirs)
    if found is None:
        return ""
    mine, other = found
    if not mine:
        return f"; the model's names begin with {other!r}: pass its part {other[:-1]!r} instead"
    begins = f"; every name of the task vectors begins with {mine!r}"
    if not other:
        return f"{begins}, the model's do not: pass the model that has it as its part {mine[:-1]!r}"
    return f"{begins} where the model's have {other!r}: rename the tensors of one of them"


def _prefixes(mine: Sequence[str], theirs: Sequence[str]) -> tuple[str, str] | None:
    """(p, q) such that every one of `mine` begins with p and is one of `theirs` with q for p.

    Both end in a dot or are empty; p is the shortest possible.
    """
    known, first = set(theirs), mine[0]
    starts = [first[: i + 1] for i, letter in enumerate(first) if letter == "."]
    for p in ("", *starts):
        if not all(name.startswith(p) for name in mine):
            return None
        rest = first[len(p) :]
        for candidate in theirs:
            q = candidate.removesuffix(rest)
            ends = candidate.endswith(rest) and (not q or q.endswith("."))
            if ends and all(q + name[len(p) :] in known for name in mine):
                return p, q
    return None
