"""Which tokens are real: what the attention masks say that a model is called with.

A router's mean over tokens must leave padding out, and a site deep in a model does not see the
mask. So the modules around the blocks are watched while they run: whichever of them is given an
`attention_mask` of shape (B, T) has said it for all that runs inside it.
"""

import inspect
from collections.abc import Iterable

import torch
from torch import Tensor

ARGUMENT = "attention_mask"


class RealTokens:
    """The masks that the running modules of a model were given.

    An inner module's mask stands for its own part of the model, also None if that is what it was
    given; masks of other shapes than (B, T) say nothing. They are forgotten when the module that
    was given them returns or raises. An argument of another name is not known, nor padding
    that no mask tells of: that of open_clip's text towers, a fixed context, counts as tokens.
    """

    def __init__(self) -> None:
        self._masks: dict[str, Tensor | None] = {}  # by module, the outermost first

    def watch(self, model: torch.nn.Module, inside: Iterable[str]) -> None:
        """Note the masks of all modules that contain one of the modules `inside`."""
        around = set()
        for name in inside:
            words = name.split(".")
            around |= {".".join(words[:count]) for count in range(len(words))}
        for name in sorted(around):
            module = model.get_submodule(name)
            parameters = inspect.signature(module.forward).parameters
            free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
            if ARGUMENT in parameters or free:
                place = list(parameters).index(ARGUMENT) if ARGUMENT in parameters else None
                watcher = _Watcher(name, place, self._masks)
                module.register_forward_pre_hook(watcher.before, with_kwargs=True)
                module.register_forward_hook(watcher.after, always_call=True)

    def of(self, tokens: Tensor) -> Tensor | None:
        """(B, T) bool, True where a token of (B, T, d) is real; None if no mask is known."""
        for mask in reversed(self._masks.values()):
            if mask is None:
                return None
            if mask.shape == tokens.shape[:2]:
                return mask.to(tokens.device) != 0
        return None


class _Watcher:
    """The hooks of one module: bound methods, so that a copy of the model has its own masks."""

    def __init__(self, name: str, place: int | None, masks: dict[str, Tensor | None]) -> None:
        self.name, self.place, self.masks = name, place, masks

    def before(self, module: torch.nn.Module, inputs: tuple, options: dict) -> None:
        if ARGUMENT in options:
            mask = options[ARGUMENT]
        elif self.place is not None and self.place < len(inputs):
            mask = inputs[self.place]
        else:
            return
        if mask is None or (isinstance(mask, Tensor) and mask.dim() == 2):
            self.masks[self.name] = mask

    def after(self, module: torch.nn.Module, inputs: tuple, output: object) -> None:
        self.masks.pop(self.name, None)


def token_mean(tokens: Tensor, real: Tensor | None) -> Tensor:
    """The mean over the real tokens of (B, T, d), (B, d): over all where `real` is None; 0 where
    an input has none."""
    if real is None:
        return tokens.mean(1)
    total = torch.where(real.unsqueeze(2), tokens, 0).sum(1)
    return total / real.sum(1, keepdim=True).clamp_min(1)
