"""Bare parameters in front of a model's blocks: extra tokens, and positions added to all."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mergelib.mixtures.twin.exclusive import Exclusive
from mergelib.models.embeddings import FIRST, NEXT, POSITIONS, last_word


@dataclass(frozen=True)
class Rows:
    """One such parameter: its name, how many rows it has, and the token of the first (None: it is
    a table of positions). `cut`: a table may have more rows than there are tokens."""

    name: str
    count: int
    start: int | None
    cut: bool = False


def front_rows(parameters: Mapping[str, Tensor], cut: bool) -> list[Rows]:
    """What bare parameters, by name, add to a model's tokens. `cut`: see Rows."""
    first = [n for n in parameters if last_word(n) in FIRST]
    rows, start = [], 0
    for name in (*first, *(n for n in parameters if last_word(n) in NEXT)):
        count = parameters[name].numel() // parameters[name].shape[-1]
        rows.append(Rows(name, count, start))
        start += count
    tables = {n: t for n, t in parameters.items() if last_word(n) in POSITIONS and t.dim() > 1}
    return rows + [Rows(name, t.shape[-2], None, cut) for name, t in tables.items()]


class Front:
    """A hook before the module that is the first to see all tokens, of which some rows are mixed.

    That is a norm before the blocks, or the first block; what comes in gets what the exclusive
    vectors add to those parameters.
    """

    def __init__(self, exclusive: Exclusive, rows: list[Rows], batch_first: bool) -> None:
        self.exclusive, self.rows, self.batch_first = exclusive, rows, batch_first

    def before(self, module: torch.nn.Module, inputs: tuple, options: dict) -> tuple | None:
        if self.exclusive.coefficients is None:
            return None
        if inputs:
            return (self.with_rows(inputs[0]), *inputs[1:]), options
        (name, x), *others = options.items()
        return inputs, {name: self.with_rows(x), **dict(others)}

    def with_rows(self, x: Tensor) -> Tensor:
        """The tokens (B, T, d), or (T, B, d), and what is added to them."""
        x = x if self.batch_first else x.transpose(0, 1)
        for rows in self.rows:
            x = x + self._added(rows, x)
        return x if self.batch_first else x.transpose(0, 1)

    def _added(self, rows: Rows, x: Tensor) -> Tensor:
        tokens, width = x.shape[1:]
        if rows.start is not None:
            added = torch.zeros_like(x)
            mixed = self.exclusive.vector(rows.name).view(len(x), rows.count, width)
            added[:, rows.start : rows.start + rows.count] = mixed.to(x.dtype)
            return added
        if rows.count > tokens and not rows.cut:
            raise ValueError(
                f"{rows.name} has {rows.count} rows, but there are only {tokens} tokens: which "
                "rows are added to them is not known"
            )
        left = self.exclusive.get("left", rows.name)[:, :tokens]
        right = self.exclusive.get("right", rows.name)
        mixed = torch.einsum("bk,ktr,krd->btd", self.exclusive.coefficients, left, right)
        # Where extra tokens have no position they come first.
        return torch.nn.functional.pad(mixed, (0, 0, tokens - mixed.shape[1], 0))
