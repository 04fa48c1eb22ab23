"""Weights made of task vectors with one coefficient a task and group of tensors, and a mask.

θ = θ0 + m ⊙ Σ_k λ_k[s] τ_k, differentiable in λ (K, n) and m (P,), in one pass over the K×P
numbers in each direction: no copy of the model for a task, and nothing of that size but the
result is allocated.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mergelib.vectors import passes
from mergelib.vectors.groups import Groups, Tile
from mergelib.vectors.task_vectors import TaskVectors

GROUPS = {"task": "model", "tensor": "tensor", "block": "block"}
WIDTH = 1 << 16  # nothing of K rows is kept, so a piece may be wider than in other passes


class Combination:
    """θ(λ, m) for some task vectors; by="task", "tensor" or "block" says what shares a λ.

    With by="task" there is one group, with "tensor" one a tensor, with "block" one a residual
    block: those of `tv.layout.segments`. Raises ValueError for any other word.
    """

    def __init__(self, tv: TaskVectors, by: str = "tensor") -> None:
        if by not in GROUPS:
            raise ValueError(f"by must be one of {', '.join(GROUPS)}, not {by!r}")
        self.tv, self.by = tv, by
        self.sharing = Groups.of_layout(tv.layout, GROUPS[by])
        self.pieces = self.sharing.pieces(tv.device, WIDTH)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the n groups of tensors that share a λ."""
        return self.sharing.names

    def __call__(
        self,
        coefficients: Tensor,
        mask: Tensor | None = None,
        out: Tensor | None = None,
        consume: bool = False,
    ) -> Tensor:
        """(P,) from coefficients (K, n) and, if there is one, a mask (P,).

        The numbers are written to `out` if given; what is returned shares its memory, and a
        gradient can be taken until that is written to again. With `consume` the backward pass
        may write to the gradient (P,) that it is given. Raises ValueError for shapes that do not
        fit.
        """
        shape = (len(self.tv), len(self.groups))
        if tuple(coefficients.shape) != shape:
            raise ValueError(
                f"{shape[0]} tasks and {shape[1]} groups need coefficients of shape {shape}, "
                f"not {tuple(coefficients.shape)}"
            )
        if mask is not None and mask.shape != self.tv.base.shape:
            raise ValueError(
                f"a mask of these weights has shape {tuple(self.tv.base.shape)}, "
                f"not {tuple(mask.shape)}"
            )
        out = torch.empty_like(self.tv.base) if out is None else out
        return _Combine.apply(coefficients, mask, self, out, consume)


class _Combine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, coefficients, mask, form: Combination, out: Tensor, consume: bool) -> Tensor:
        ctx.form, ctx.consume = form, consume
        ctx.save_for_backward(coefficients, mask)
        base, deltas = form.tv.base, form.tv.deltas
        # Detached, because whether gradients are recorded is a setting of each thread.
        columns, mask = coefficients.detach().T.contiguous(), _detached(mask)

        def combine(batch: Sequence[Tile]) -> Iterator[None]:
            buffer = None if mask is None else base.new_empty(_widest(batch))
            for tile in batch:
                group, piece = tile.first, tile.columns
                vectors, place = deltas[:, piece].T, out[piece]
                if mask is None:
                    torch.addmv(base[piece], vectors, columns[group], out=place)
                else:
                    total = buffer[: tile.size]
                    torch.mv(vectors, columns[group], out=total)
                    torch.addcmul(base[piece], mask[piece], total, out=place)
                yield

        passes.run(combine, form.pieces, base.device)
        return out.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple:
        coefficients, mask = map(_detached, ctx.saved_tensors)
        form, (wanted, mask_wanted) = ctx.form, ctx.needs_input_grad[:2]
        deltas, columns = form.tv.deltas, coefficients.T.contiguous()
        mask_gradient = None
        if mask_wanted:  # the gradient of λ needs the upstream one as it is
            mask_gradient = gradient if ctx.consume and not wanted else torch.empty_like(mask)

        def products(batch: Sequence[Tile]) -> Iterator[Tensor | None]:
            buffer = gradient.new_empty(_widest(batch))
            for tile in batch:
                piece, room = tile.columns, buffer[: tile.size]
                vectors, upstream = deltas[:, piece], gradient[piece]
                if mask_wanted:
                    torch.mv(vectors.T, columns[tile.first], out=room)
                    torch.mul(room, upstream, out=mask_gradient[piece])
                if mask is not None and wanted:
                    upstream = torch.mul(upstream, mask[piece], out=room)
                yield torch.mv(vectors, upstream).unsqueeze(0) if wanted else None

        found = passes.run(products, form.pieces, gradient.device)
        if not wanted:
            return None, mask_gradient, None, None, None
        sums = form.sharing.total(form.pieces, found).T.contiguous()
        return sums.to(coefficients), mask_gradient, None, None, None


def _detached(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.detach()


def _widest(batch: Sequence[Tile]) -> int:
    return max(tile.size for tile in batch)
