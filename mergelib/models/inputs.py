"""What an encoder eats: pixels, or tokens with a mask, many of them in one object.

An object of inputs knows how to make a batch ready for its encoder, how to take some of itself
and how many fit on a device. Nothing outside this file knows how pixels are scaled or sentences
are padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# Inputs encoded at once. On a CPU the activations of a few dozen fit into its cache, those of
# hundreds do not; a GPU wants as many as it can get.
CPU_BATCH, GPU_BATCH = 64, 1000
SIMILAR = 16  # batches whose texts are sorted by length together when training


class Inputs:
    """N inputs of one kind. `noun` is what a reader would call one of them; `augments`: `prepare`
    takes a `change`, which training may use to vary them; `pooled`: those of several tasks are
    encoded faster together."""

    noun: str
    augments: bool = False
    pooled: bool = False

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: slice | Tensor) -> Inputs:
        """Some of the inputs, by a slice or by their numbers (n,)."""
        raise NotImplementedError

    def prepare(
        self, device: torch.device | str, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, ...]:
        """The encoder's arguments for all of these, on its device."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """All there is, by name, as a file holds it; `from_tensors` is the way back."""
        raise NotImplementedError

    def problem(self) -> str | None:
        """What is wrong with these inputs, as the end of a sentence, or None."""
        raise NotImplementedError

    def noise(self, count: int, generator: torch.Generator) -> Inputs:
        """`count` inputs of random content, of this kind and size."""
        raise NotImplementedError

    def fit(self, device: torch.device) -> int:
        """How many are encoded at once on a device."""
        return CPU_BATCH if device.type == "cpu" else GPU_BATCH

    def batches(self, size: int) -> Iterator[tuple[Tensor | slice, Inputs]]:
        """(places, inputs): parts of at most `size`, each input in one of them."""
        for start in range(0, len(self), size):
            place = slice(start, start + size)
            yield place, self[place]

    def chunks(self, device: torch.device) -> Iterator[tuple[Tensor | slice, Inputs]]:
        """(places, inputs): parts as large as the device likes them."""
        return self.batches(self.fit(device))

    def shuffled(self, size: int, generator: torch.Generator) -> Sequence[Tensor]:
        """The numbers of all inputs in random order, in batches of `size`: an epoch."""
        return torch.randperm(len(self), generator=generator).split(size)


@dataclass(frozen=True, eq=False)
class Pixels(Inputs):
    """uint8 images (N, 3, H, W), and the encoder's own mean and deviation of each channel.

    The encoder is given (x / 255 − mean) / std.
    """

    values: Tensor
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    noun = "image"
    augments = True

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: slice | Tensor) -> Pixels:
        if isinstance(index, Tensor):
            index = index.to(self.values.device)
        return replace(self, values=self.values[index])

    def prepare(
        self,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        change: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor]:
        """The images (N, 3, H, W) as the encoder wants them; `change` maps images in [0, 1] to
        others (augmentation) before they are normalised."""
        x = self.values.to(device).to(dtype) / 255
        x = x if change is None else change(x)
        mean, std = (
            torch.tensor(c, device=x.device, dtype=x.dtype).view(3, 1, 1)
            for c in (self.mean, self.std)
        )
        return ((x - mean) / std,)

    def pictures(self) -> Tensor:
        """The images as they are looked at, (N, H, W, 3) uint8."""
        return self.values.permute(0, 2, 3, 1)

    def tensors(self) -> dict[str, Tensor]:
        return {"images": self.values}

    def problem(self) -> str | None:
        shape = tuple(self.values.shape)
        if self.values.dtype != torch.uint8 or len(shape) != 4 or shape[1] != 3:
            return f"images must be uint8 (N, 3, H, W), not {self.values.dtype} {shape}"
        return None

    def noise(self, count: int, generator: torch.Generator) -> Pixels:
        shape = (count, *self.values.shape[1:])
        return replace(
            self, values=torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        )


@dataclass(frozen=True, eq=False)
class Tokens(Inputs):
    """Token ids (N, T) int64 and a mask (N, T) bool: True where a token is real, False where the
    row is filled up. Real tokens come first.

    The encoder is given ids and mask, cut to the longest of a batch.
    """

    ids: Tensor
    mask: Tensor
    noun = "text"
    pooled = True

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | Tensor) -> Tokens:
        if isinstance(index, Tensor):
            index = index.to(self.ids.device)
        return replace(self, ids=self.ids[index], mask=self.mask[index])

    def prepare(
        self, device: torch.device | str, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        """(ids, mask), (N, t) each, t the most real tokens that a row has."""
        longest = max(1, int(self.mask.sum(1).max())) if len(self) else 1
        return self.ids[:, :longest].to(device), self.mask[:, :longest].to(device)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tokens]]:
        """Parts of texts of about equal length, so that little of a batch is padding."""
        for place in self.mask.sum(1).argsort(stable=True).split(size):
            yield place, self[place]

    def chunks(self, device: torch.device) -> Iterator[tuple[Tensor, Tokens]]:
        """Parts of texts of about equal length, each with as many tokens, padding counted, as the
        device takes of the longest texts: of short ones more fit, and each part costs the encoder
        the preparation of its weights."""
        if len(self) == 0:
            return
        lengths = self.mask.sum(1)
        order = lengths.argsort(stable=True)
        most = self.fit(device) * int(lengths.max())
        start = 0
        for end in range(1, len(order) + 1):
            if end == len(order) or (end + 1 - start) * int(lengths[order[end]]) > most:
                yield order[start:end], self[order[start:end]]
                start = end

    def shuffled(self, size: int, generator: torch.Generator) -> Sequence[Tensor]:
        """Batches of texts of similar length in random order: random draws of some batches at a
        time are sorted by length."""
        order = torch.randperm(len(self), generator=generator)
        lengths, batches = self.mask.sum(1), []
        for drawn in order.split(SIMILAR * size):
            batches += drawn[lengths[drawn].argsort(stable=True)].split(size)
        turns = torch.randperm(len(batches), generator=generator)
        return [batches[turn] for turn in turns.tolist()]

    def tensors(self) -> dict[str, Tensor]:
        return {"ids": self.ids, "mask": self.mask}

    def problem(self) -> str | None:
        ids, mask = self.ids, self.mask
        if ids.dtype != torch.int64 or ids.ndim != 2:
            return f"token ids must be int64 (N, T), not {ids.dtype} {tuple(ids.shape)}"
        if mask.dtype != torch.bool or mask.shape != ids.shape:
            return f"the mask must be bool {tuple(ids.shape)}, not {mask.dtype} {tuple(mask.shape)}"
        if not bool(mask[:, :1].all()) or bool((mask[:, 1:] & ~mask[:, :-1]).any()):
            return "every text needs a real token, and its real tokens must come first"
        return None

    def noise(self, count: int, generator: torch.Generator) -> Tokens:
        rows = torch.randint(len(self), (count,), generator=generator)
        drawn = torch.randint(self.ids.numel(), (count, self.ids.shape[1]), generator=generator)
        return Tokens(self.ids.flatten()[drawn], self.mask[rows])


KINDS = {"images": Pixels, "ids": Tokens}


def as_inputs(inputs: Inputs | Tensor) -> Inputs:
    """Inputs as they are; a tensor as pixels with CLIP's mean and deviation."""
    return Pixels(inputs) if isinstance(inputs, Tensor) else inputs


def from_tensors(tensors: dict[str, Tensor]) -> Inputs:
    """The inputs whose `tensors` these are."""
    kind = next(kind for name, kind in KINDS.items() if name in tensors)
    return kind(**({"values": tensors["images"]} if kind is Pixels else tensors))


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Inputs of one kind one after the other; shorter token rows are filled up."""
    first = parts[0]
    if isinstance(first, Pixels):
        return replace(first, values=torch.cat([p.values for p in parts]))
    longest = max(p.ids.shape[1] for p in parts)
    padded = [
        [torch.nn.functional.pad(t, (0, longest - t.shape[1])) for t in (p.ids, p.mask)]
        for p in parts
    ]
    return Tokens(*(torch.cat(column) for column in zip(*padded, strict=True)))
