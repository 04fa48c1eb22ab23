"""What distinguishes each expert from the shared one, compressed, and a model that adds it.

A weight W* + Σ_k c_bk U_k V_k of each sample b is never formed: x (W* + Σ_k c_bk U_k V_k)ᵀ =
x W*ᵀ + Σ_k c_bk (x V_kᵀ) U_kᵀ, two thin products beside the shared one, whatever the batch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm, linear

from mergelib.models.attention import attend


def factors(matrices: Tensor, rank: float) -> tuple[Tensor, Tensor]:
    """The best approximations of (K, o, i) matrices of a share `rank` of their singular values.

    U (K, o, r) and V (K, r, i) with U V ≈ matrices, r = ⌊rank · min(o, i)⌋: Eckart and Young.
    Exact with rank=1. Raises ValueError unless 0 ≤ rank ≤ 1.
    """
    if not 0 <= rank <= 1:
        raise ValueError(f"rank is a share of the singular values, 0 … 1, not {rank}")
    kept = int(round(rank * min(matrices.shape[1:]), 6))
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    return left[..., :kept] * values[:, None, :kept], right[:, :kept].contiguous()


class Exclusive(torch.nn.Module):
    """The exclusive vectors of all tensors of a model, and the coefficients of the moment.

    `left` and `right` hold U (K, o, r) and V (K, r, i) by name, `vectors` (K, n) what is not
    compressed. `coefficients` is (B, K), or None: then the shared expert is what runs.
    """

    def __init__(
        self,
        left: Mapping[str, Tensor],
        right: Mapping[str, Tensor],
        vectors: Mapping[str, Tensor],
    ) -> None:
        super().__init__()
        self.coefficients: Tensor | None = None
        self._keys = {name: name.replace(".", "/") for name in (*left, *vectors)}
        for kind, tensors in (("left", left), ("right", right), ("vectors", vectors)):
            for name, tensor in tensors.items():
                self.register_buffer(f"{kind}:{self._keys[name]}", tensor.detach())

    def get(self, kind: str, name: str) -> Tensor | None:
        """The tensor of that kind ("left", "right", "vectors") and name, or None."""
        return getattr(self, f"{kind}:{self._keys.get(name)}", None)

    def tensors(self) -> dict[str, Tensor]:
        """All by "kind/name", as a file has them."""
        names = {key: name for name, key in self._keys.items()}
        parts = ((key.partition(":"), t) for key, t in self.named_buffers())
        return {f"{kind}/{names[rest]}": t for (kind, _, rest), t in parts}

    def vector(self, name: str) -> Tensor:
        """Σ_k c_bk e_k, (B, n)."""
        return self.coefficients @ self.get("vectors", name)

    def linear(self, x: Tensor, weight: str, bias: str | None) -> Tensor:
        """Σ_k c_bk (x V_kᵀ U_kᵀ + e_k) for x (B, T, i): (B, T, o), or (B, i): (B, o)."""
        flat = x.dim() == 2
        x = x.unsqueeze(1) if flat else x
        left, right = self.get("left", weight), self.get("right", weight)
        hidden = linear(x, right.flatten(0, 1))
        shares = self.coefficients.repeat_interleave(right.shape[1], 1).unsqueeze(1)
        columns = left.permute(1, 0, 2).flatten(1)
        y = linear(hidden * shares, columns)
        if bias is not None:
            y = y + self.vector(bias).unsqueeze(1)
        return y.squeeze(1) if flat else y


class Mixed(torch.nn.Module):
    """A module of the encoder, `inner`, to whose output that of the exclusive vectors is added."""

    def __init__(
        self, inner: torch.nn.Module, exclusive: Exclusive, name: str, batch_first: bool = True
    ) -> None:
        super().__init__()
        self.inner, self.name, self.batch_first = inner, name, batch_first
        self._exclusive = [exclusive]  # in a list, because it is not this module's own

    @property
    def exclusive(self) -> Exclusive:
        return self._exclusive[0]

    @property
    def weight(self) -> Tensor:
        """The shared weight, whose type some encoders ask for."""
        return self.inner.weight

    @property
    def bias_name(self) -> str | None:
        return None if self.inner.bias is None else f"{self.name}.bias"

    def forward(self, x: Tensor) -> Tensor:
        if self.exclusive.coefficients is None:
            return self.inner(x)
        turn = not self.batch_first and x.dim() == 3
        x = x.transpose(0, 1) if turn else x
        y = self.inner(x) + self.added(x)
        return y.transpose(0, 1) if turn else y


class MixedLinear(Mixed):
    def added(self, x: Tensor) -> Tensor:
        return self.exclusive.linear(x, f"{self.name}.weight", self.bias_name)


class MixedConv(Mixed):
    """A convolution; its weight (o, …) was compressed as a matrix of o rows."""

    def added(self, x: Tensor) -> Tensor | float:
        own, name = self.inner, f"{self.name}.weight"
        left, right = self.exclusive.get("left", name), self.exclusive.get("right", name)
        if not right.numel():  # no singular value kept: a convolution must have a filter
            return 0.0 if self.bias_name is None else self._shift()
        filters = right.reshape(-1, *own.weight.shape[1:])
        hidden = conv2d(x, filters, None, own.stride, own.padding, own.dilation, own.groups)
        shares = self.exclusive.coefficients.repeat_interleave(right.shape[1], 1)
        columns = left.permute(1, 0, 2).flatten(1)[..., None, None]
        y = conv2d(hidden * shares[..., None, None], columns)
        return y if self.bias_name is None else y + self._shift()

    def _shift(self) -> Tensor:
        return self.exclusive.vector(self.bias_name)[..., None, None]


class MixedNorm(Mixed):
    """A layer norm; `embeddings`, (name, rows) of what is added to its input, come before it.

    What a vision transformer adds to its patches, class embedding and positions, are bare
    parameters of its root; the norm that follows is the first module to see them.
    """

    embeddings: tuple[tuple[str, bool], ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        if self.exclusive.coefficients is not None:
            for name, first_token in self.embeddings:
                x = x + self._embedded(name, first_token, x)
        return super().forward(x)

    def _embedded(self, name: str, first_token: bool, x: Tensor) -> Tensor:
        mix = self.exclusive.coefficients
        if first_token:
            added = torch.zeros_like(x)
            added[:, 0] = self.exclusive.vector(name).to(x.dtype)
            return added
        left, right = self.exclusive.get("left", name), self.exclusive.get("right", name)
        return torch.einsum("bk,ktr,krd->btd", mix, left, right)

    def added(self, x: Tensor) -> Tensor:
        own = self.inner
        shape = (len(x), *[1] * (x.dim() - 2), -1)
        scale = self.exclusive.vector(f"{self.name}.weight").view(shape)
        shift = self.exclusive.vector(f"{self.name}.bias").view(shape)
        return layer_norm(x, own.normalized_shape, None, None, own.eps) * scale + shift


class MixedAttention(Mixed):
    """torch's MultiheadAttention as self-attention, called as it is."""

    def forward(self, *inputs: Tensor, **options) -> tuple[Tensor, None]:
        if options.get("attn_mask") is not None or any(x is not inputs[0] for x in inputs[:3]):
            raise ValueError(f"{self.name}: a mixture attends to all tokens of its own input")
        own, x = self.inner, inputs[0]
        x = x if self.batch_first else x.transpose(0, 1)
        weight, bias = f"{self.name}.in_proj_weight", f"{self.name}.in_proj_bias"
        qkv = self._product(x, own.in_proj_weight, own.in_proj_bias, weight, bias)
        batch, tokens, width = x.shape
        split = qkv.view(batch, tokens, 3, own.num_heads, width // own.num_heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)
        y = attend(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        weight, bias = f"{self.name}.out_proj.weight", f"{self.name}.out_proj.bias"
        y = self._product(y, own.out_proj.weight, own.out_proj.bias, weight, bias)
        return (y if self.batch_first else y.transpose(0, 1)), None

    def _product(self, x: Tensor, w: Tensor, b: Tensor, weight: str, bias: str) -> Tensor:
        y = linear(x, w, b)
        if self.exclusive.coefficients is None:
            return y
        return y + self.exclusive.linear(x, weight, bias)
