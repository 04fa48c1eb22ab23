"""Modules of a model to whose output that of the exclusive vectors is added."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, layer_norm, linear

from mergelib.mixtures.twin.exclusive import Exclusive
from mergelib.models.attention import AsTorch


class Mixed(torch.nn.Module):
    """A module of the model, `inner`, called as it is.

    `names` are those of its tensors in `exclusive`, by what the module calls them; a tensor whose
    name is not there is the same for all experts. Tokens are the second dimension of inputs
    (B, T, d) if `batch_first`, else the first.
    """

    def __init__(
        self,
        inner: torch.nn.Module,
        exclusive: Exclusive,
        names: dict[str, str],
        title: str,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        self.inner, self.names, self.title, self.batch_first = inner, names, title, batch_first
        self._exclusive = (exclusive,)  # in a tuple, because it is not this module's own

    @property
    def exclusive(self) -> Exclusive:
        return self._exclusive[0]

    @property
    def weight(self) -> Tensor:
        """The shared weight, whose type some models ask for."""
        return self.inner.weight

    @property
    def bias(self) -> Tensor | None:
        """The shared bias."""
        return self.inner.bias

    def vector(self, name: str) -> Tensor | None:
        """Σ_k c_bk e_k (B, n) of the module's tensor, or None if it is the same for all."""
        full = self.names.get(name)
        return self.exclusive.vector(full) if self.exclusive.has(full) else None

    def forward(self, x: Tensor) -> Tensor:
        if self.exclusive.coefficients is None:
            return self.inner(x)
        turn = not self.batch_first and x.dim() == 3
        x = x.transpose(0, 1) if turn else x
        added = self.added(x)  # first, because some modules change their input
        y = self.inner(x) + added
        return y.transpose(0, 1) if turn else y

    def added(self, x: Tensor) -> Tensor | float:
        """What the exclusive vectors add to the output for x (B, …)."""
        raise NotImplementedError


class MixedLinear(Mixed):
    def added(self, x: Tensor) -> Tensor | float:
        return self.exclusive.linear(x, self.names["weight"], self.names.get("bias"))


class MixedConv(Mixed):
    """A convolution; its weight (o, …) was compressed as a matrix of o rows."""

    def added(self, x: Tensor) -> Tensor | float:
        own, name, exclusive = self.inner, self.names["weight"], self.exclusive
        y, shift = 0.0, self.vector("bias")
        # A filter of no singular value adds nothing, but a convolution must have one.
        if exclusive.has(name) and exclusive.get("right", name).numel():
            filters = exclusive.get("right", name).reshape(-1, *own.weight.shape[1:])
            hidden = conv2d(x, filters, None, own.stride, own.padding, own.dilation)
            shares, columns = exclusive.shares(name), exclusive.columns(name)
            y = conv2d(hidden * shares[..., None, None], columns[..., None, None])
        return y if shift is None else y + shift[..., None, None]


class MixedNorm(Mixed):
    """A layer norm."""

    def added(self, x: Tensor) -> Tensor | float:
        own, y = self.inner, 0.0
        shape = (len(x), *[1] * (x.dim() - 2), -1)
        scale, shift = self.vector("weight"), self.vector("bias")
        if scale is not None:
            y = layer_norm(x, own.normalized_shape, None, None, own.eps) * scale.view(shape)
        return y if shift is None else y + shift.view(shape)


class MixedRms(Mixed):
    """x / rms(x) ⊙ w: a norm that only scales. `epsilon` is added to the mean of squares."""

    @property
    def epsilon(self) -> float:
        found = getattr(self.inner, "variance_epsilon", getattr(self.inner, "eps", None))
        return torch.finfo(self.inner.weight.dtype).eps if found is None else found

    def added(self, x: Tensor) -> Tensor:
        scale = self.vector("weight").view(len(x), *[1] * (x.dim() - 2), -1)
        mean = x.float().square().mean(-1, keepdim=True)
        return (x * torch.rsqrt(mean + self.epsilon)).to(x.dtype) * scale


class MixedScale(Mixed):
    """x ⊙ w, a scale for each feature."""

    def added(self, x: Tensor) -> Tensor:
        (name,) = self.names
        return x * self.vector(name).view(len(x), *[1] * (x.dim() - 2), -1)


class MixedEmbedding(Mixed):
    """Rows of a table by number; of tables of positions the numbers may be one row for all."""

    def forward(self, numbers: Tensor) -> Tensor:
        y = self.inner(numbers)
        if self.exclusive.coefficients is None:
            return y
        return y + self.exclusive.rows(numbers, self.names["weight"])


class MixedProjection(Mixed):
    """A bare matrix that features are multiplied with from the left: x @ W is asked of it."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), options=None):
        x, own = args
        if function not in (Tensor.matmul, Tensor.__matmul__, torch.matmul):
            return NotImplemented
        y = x @ own.inner
        if own.exclusive.coefficients is None:
            return y
        return y + own.exclusive.linear(x, own.names["inner"], None)


class MixedAttention(Mixed):
    """torch's MultiheadAttention as self-attention; see AsTorch."""

    def forward(self, *inputs: Tensor, **options) -> tuple[Tensor, Tensor | None]:
        def project(x: Tensor, real: Tensor | None):
            qkv = self._product(x, "in_proj_weight", "in_proj_bias")
            return qkv, lambda y: self._product(y, "out_proj.weight", "out_proj.bias")

        as_torch = AsTorch(self.title, self.inner.num_heads, self.batch_first, project)
        return as_torch(*inputs, **options)

    def _product(self, x: Tensor, weight: str, bias: str) -> Tensor:
        own = dict(self.inner.named_parameters())
        y = linear(x, own[weight], own.get(bias))
        if self.exclusive.coefficients is None:
            return y
        return y + self.exclusive.linear(x, self.names[weight], self.names.get(bias))
