"""Linear layers whose weight is mixed for every sample: the weight-ensembling layer, exactly.

y_b = x_b W_bᵀ + c_b with W_b = W0 + Σ_k λ_bk D_k and c_b = c0 + Σ_k λ_bk e_k. The reference
implementation (Tang et al. 2024) merges and applies one sample's weights at a time; here a batch
is one call, in tiles.
"""

from collections.abc import Iterator
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mergelib.mixtures.dictionaries import GPU_BYTES, DenseDictionary, SparseDictionary

Dictionary: TypeAlias = DenseDictionary | SparseDictionary

EVALUATIONS = ("auto", "weights", "outputs")
MERGED_BYTES = 1 << 24  # of merged weights in memory at a time: a CPU's last cache holds them
STORE = 12  # multiply-adds that writing and reading back one merged weight cost, as measured


class WeightEnsemblingLinear(torch.nn.Module):
    """y_b = x_b (W0 + Σ_k λ_bk D_k)ᵀ + c0 + Σ_k λ_bk e_k for x (B, T, d) and λ (B, K).

    Tang et al. 2024, "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts",
    section 3.2. `weight` W0 (o, d), `bias` c0 (o,) or None, `weight_deltas` D (K, o, d) or a
    dictionary, `bias_deltas` e (K, o), or None if there is no bias. All are frozen; gradients
    reach x and λ.

    There are two ways to the same numbers. "weights" mixes them, one (B × K)·(K × P) product, and
    applies them, one batched product: B P (K + T + c) multiply-adds, where c = 12 stands for
    writing and reading a merged weight. "outputs" mixes the outputs of K + 1 products:
    B P T (K + 1). "auto" takes the cheaper one, which is "weights" unless T K ≤ K + c. In both,
    backward to λ forms what it needs again, tile by tile: nothing of size B P is ever in memory.
    `budget`: bytes of a tile of the dictionary and of a tile of merged weights.

    λ of shape (1, K) mixes one weight for the whole batch (routing by batch). Under autocast all
    products run in autocast's type: x W0ᵀ as in a plain layer, and beside it x (Σ_k λ_bk D_k)ᵀ
    with a mixed tile that is rounded as such, which is finer than rounding W_b.
    Raises ValueError for shapes that do not fit.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        weight_deltas: Tensor | Dictionary,
        bias_deltas: Tensor | None,
        evaluation: str = "auto",
        budget: int | None = None,
    ) -> None:
        super().__init__()
        if evaluation not in EVALUATIONS:
            raise ValueError(
                f"evaluation must be one of {', '.join(EVALUATIONS)}, not {evaluation!r}"
            )
        if isinstance(weight_deltas, Tensor):
            weight_deltas = DenseDictionary(weight_deltas, budget)
        tasks = weight_deltas.shape[0]
        if tuple(weight.shape) != weight_deltas.shape[1:]:
            raise ValueError(
                f"a weight of shape {tuple(weight.shape)} needs deltas of shape "
                f"(K, {', '.join(map(str, weight.shape))}), not {weight_deltas.shape}"
            )
        if (bias is None) != (bias_deltas is None):
            raise ValueError("bias and bias deltas are given both or neither")
        if bias is not None and (
            bias.shape != weight.shape[:1] or tuple(bias_deltas.shape) != (tasks, len(bias))
        ):
            raise ValueError(
                f"{tasks} tasks and {weight.shape[0]} outputs need a bias of shape "
                f"({weight.shape[0]},) and deltas of shape ({tasks}, {weight.shape[0]}), not "
                f"{tuple(bias.shape)} and {tuple(bias_deltas.shape)}"
            )
        self.evaluation, self.budget = evaluation, budget
        self.dictionary = weight_deltas
        self.register_buffer("weight", weight.detach())
        self.register_buffer("bias", None if bias is None else bias.detach())
        self.register_buffer("bias_deltas", None if bias is None else bias_deltas.detach())

    @property
    def tasks(self) -> int:
        """K."""
        return self.dictionary.shape[0]

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        batch, width = len(x), self.weight.shape[1]
        if x.dim() != 3 or x.shape[2] != width:
            raise ValueError(f"inputs must be (B, T, {width}), not {tuple(x.shape)}")
        if coefficients.dim() != 2 or coefficients.shape[0] not in (1, batch):
            raise ValueError(
                f"{batch} inputs need coefficients ({batch}, {self.tasks}) or (1, {self.tasks}), "
                f"not {tuple(coefficients.shape)}"
            )
        if coefficients.shape[1] != self.tasks:
            raise ValueError(
                f"{self.tasks} tasks need as many coefficients a sample, "
                f"not {coefficients.shape[1]}"
            )
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        tokens = x.shape[1]
        if len(coefficients) < batch:
            x = x.reshape(1, batch * tokens, width)
        with torch.autocast(x.device.type, enabled=False):
            coefficients = coefficients.to(self.weight.dtype)
            bias = None
            if self.bias is not None:
                bias = torch.addmm(self.bias, coefficients, self.bias_deltas).to(x.dtype)
            y = _Mix.apply(x, coefficients, bias, self, self.chosen(x.shape[1]))
        return y.view(batch, tokens, len(self.weight))

    def chosen(self, tokens: int) -> str:
        """The evaluation that inputs of T tokens get."""
        if self.evaluation != "auto":
            return self.evaluation
        merging = self.tasks + STORE
        return "outputs" if tokens * self.tasks <= merging else "weights"

    def tiles(self, batch: int, numbers: int) -> Iterator[tuple[slice, Tensor, list[slice]]]:
        """Slices of rows, and for each a dictionary tile (K, r, d) and slices of the batch.

        `numbers` is how many are held for each row and sample.
        """
        kind = self.weight.device.type
        room = self.budget or (MERGED_BYTES if kind in ("cpu", "meta") else GPU_BYTES)
        room //= self.weight.element_size()
        for start in range(0, len(self.weight), self.dictionary.height):
            rows = slice(start, min(start + self.dictionary.height, len(self.weight)))
            parts = max(1, -(-batch * (rows.stop - start) * numbers // max(1, room)))
            some = max(1, -(-batch // parts))
            slices = [slice(b, min(b + some, batch)) for b in range(0, batch, some)]
            yield rows, self.dictionary.tile(start), slices

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape
        return f"{inputs} → {outputs}, K={self.tasks}, evaluation={self.evaluation!r}"


class WeightEnsemblingMLP(torch.nn.Module):
    """Two mixed linear layers with an activation between them and the same λ (B, K) for both."""

    def __init__(
        self,
        first: WeightEnsemblingLinear,
        activation: torch.nn.Module,
        second: WeightEnsemblingLinear,
    ) -> None:
        super().__init__()
        self.first, self.activation, self.second = first, activation, second

    def forward(self, x: Tensor, coefficients: Tensor) -> Tensor:
        """x (B, T, d) → (B, T, d)."""
        hidden = self.activation(self.first(x, coefficients))
        return self.second(hidden, coefficients)


class _Mix(torch.autograd.Function):
    """x W_bᵀ + c_b, differentiable in x, λ and c; what backward needs is formed again there."""

    @staticmethod
    def forward(ctx, x, coefficients, bias, layer: WeightEnsemblingLinear, how: str) -> Tensor:
        ctx.layer, ctx.how = layer, how
        ctx.save_for_backward(x, coefficients)
        bias = x.new_zeros(1) if bias is None else bias.unsqueeze(1)
        out = bias.expand(len(x), x.shape[1], len(layer.weight)).clone(
            memory_format=torch.contiguous_format
        )
        if how == "weights" and _apart(layer, x):
            out += torch.matmul(x, layer.weight.to(x.dtype).T)
        mix = _mix_weights if how == "weights" else _mix_outputs
        mix(layer, x, coefficients, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple:
        x, coefficients = ctx.saved_tensors
        to_x, to_coefficients, to_bias = ctx.needs_input_grad[:3]
        wanted = torch.float32 if x.dtype.itemsize < 4 else x.dtype
        # Sums over the tiles are made in float32 even where the products are not.
        dx = x.new_zeros(x.shape, dtype=wanted) if to_x else None
        dc = torch.zeros_like(coefficients) if to_coefficients else None
        pull = _pull_weights if ctx.how == "weights" else _pull_outputs
        upstream = upstream.contiguous()
        with torch.autocast(x.device.type, enabled=False):
            if to_x and ctx.how == "weights" and _apart(ctx.layer, x):
                dx += torch.matmul(upstream, ctx.layer.weight.to(x.dtype))
            pull(ctx.layer, x, coefficients, upstream, dx, dc)
            db = upstream.sum(1) if to_bias else None
        return None if dx is None else dx.to(x.dtype), dc, db, None, None


class _Room:
    """Memory that is used again and again: that of a tile is returned to the system when it is
    freed, and to get it back costs more than to mix it."""

    def __init__(self) -> None:
        self._held: Tensor | None = None

    def take(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A tensor of that shape; what was taken before is overwritten."""
        size = prod(shape)
        if self._held is None or self._held.numel() < size:
            self._held = like.new_empty(size)
        return self._held[:size].view(shape)


def _apart(layer: WeightEnsemblingLinear, x: Tensor) -> bool:
    """Whether x W0ᵀ is a product of its own: under autocast, where that saves a float32 copy of
    every merged weight."""
    return x.dtype != layer.weight.dtype


class _Merger:
    """Makes tiles of merged weights, each in the last one's place.

    On CPUs a product a row is the fastest in float32 and float64, one long product in lower types.
    """

    def __init__(self, layer: WeightEnsemblingLinear) -> None:
        self.layer, self.room = layer, _Room()

    def __call__(self, rows: slice, tile: Tensor, mix: Tensor) -> Tensor:
        """Rows of W0 + Σ_k λ_bk D_k for the samples of `mix` (b, K): (b, r, d). With a tile in a
        type that is lower than the weight's, rows of Σ_k λ_bk D_k alone."""
        tasks, height, width = tile.shape
        if _apart(self.layer, tile):
            merged = self.room.take((len(mix), height, width), tile)
            torch.mm(mix.to(tile.dtype), tile.reshape(tasks, -1), out=merged.view(len(mix), -1))
            return merged
        merged = self.room.take((height, len(mix), width), tile)
        weight, each = self.layer.weight[rows].unsqueeze(1), mix.expand(height, *mix.shape)
        torch.baddbmm(weight, each, tile.transpose(0, 1), out=merged)
        return merged.transpose(0, 1)

    def pull(self, tile: Tensor, g: Tensor, x: Tensor) -> Tensor:
        """Σ_t g_btᵀ D_k x_bt for g (b, T, r) and x (b, T, d): (b, K), summed in float32 or more.
        What was merged is overwritten."""
        tasks, height, width = tile.shape
        product = self.room.take((len(g), height, width), x)
        torch.bmm(g.mT, x, out=product)
        if _apart(self.layer, tile):
            # K rows to the left: in bfloat16 three times faster than to the right.
            return (tile.reshape(tasks, -1) @ product.view(len(g), -1).T).T.float()
        return torch.bmm(tile.transpose(0, 1), product.permute(1, 2, 0)).sum(0).T


def _mix_weights(layer, x, coefficients, out) -> None:
    merge, room = _Merger(layer), _Room()
    for rows, tile, parts in layer.tiles(len(x), layer.weight.shape[1]):
        tile = tile.to(x.dtype)
        for part in parts:
            merged = merge(rows, tile, coefficients[part])
            # A product that is written straight into a slice of `out` takes a third longer.
            product = room.take((len(merged), x.shape[1], merged.shape[1]), x)
            out[part, :, rows] += torch.bmm(x[part], merged.mT, out=product)


def _pull_weights(layer, x, coefficients, upstream, dx, dc) -> None:
    merge = _Merger(layer)
    for rows, tile, parts in layer.tiles(len(x), layer.weight.shape[1]):
        tile = tile.to(x.dtype)
        for part in parts:
            g = upstream[part, :, rows]
            if dx is not None:
                merged = merge(rows, tile, coefficients[part])
                if dx.dtype == x.dtype:
                    dx[part].baddbmm_(g, merged)
                else:
                    dx[part] += torch.bmm(g, merged)
            if dc is not None:
                dc[part] += merge.pull(tile, g, x[part])


def _mix_outputs(layer, x, coefficients, out) -> None:
    for rows, tile, parts in layer.tiles(len(x), layer.tasks * x.shape[1]):
        matrices = tile.to(x.dtype).mT
        for part in parts:
            mixed = _mixed_products(x[part], matrices, coefficients[part])
            mixed += torch.matmul(x[part], layer.weight[rows].to(x.dtype).T)
            out[part, :, rows] += mixed.to(out.dtype)


def _mixed_products(x: Tensor, matrices: Tensor, mix: Tensor) -> Tensor:
    """Σ_k λ_bk x_b M_k for x (b, T, d), matrices (K, d, r): (b, T, r), summed in λ's type."""
    each = torch.matmul(x.reshape(1, -1, x.shape[2]), matrices).to(mix.dtype)
    each = each.view(len(matrices), len(x), x.shape[1], -1)
    return torch.einsum("kbtr,bk->btr", each, mix)


def _pull_outputs(layer, x, coefficients, upstream, dx, dc) -> None:
    for rows, tile, parts in layer.tiles(len(x), layer.tasks * x.shape[1]):
        matrices = tile.to(x.dtype)
        for part in parts:
            g = upstream[part, :, rows]
            if dc is not None:
                each = torch.matmul(x[part].reshape(1, -1, x.shape[2]), matrices.mT)
                each = each.view(len(tile), *g.shape)
                dc[part] += torch.einsum("kbtr,btr->bk", each.to(dc.dtype), g.to(dc.dtype))
            if dx is not None:
                dx[part] += torch.matmul(g, layer.weight[rows].to(x.dtype))
                for k, matrix in enumerate(matrices):
                    scaled = g * coefficients[part, k, None, None].to(g.dtype)
                    dx[part] += torch.matmul(scaled, matrix)
