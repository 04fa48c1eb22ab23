"""What distinguishes each expert from the shared one, compressed.

A weight W* + Σ_k c_bk U_k V_k of each sample b is never formed: x (W* + Σ_k c_bk U_k V_k)ᵀ =
x W*ᵀ + Σ_k c_bk (x V_kᵀ) U_kᵀ, two thin products beside the shared one, whatever the batch.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import linear


def factors(matrices: Tensor, rank: float) -> tuple[Tensor, Tensor]:
    """The best approximations of (K, o, i) matrices of a share `rank` of their singular values.

    U (K, o, r) and V (K, r, i) with U V ≈ matrices, r = ⌊rank · min(o, i)⌋: Eckart and Young.
    Exact with rank=1. Raises ValueError unless 0 ≤ rank ≤ 1.
    """
    if not 0 <= rank <= 1:
        raise ValueError(f"rank is a share of the singular values, 0 … 1, not {rank}")
    kept = int(round(rank * min(matrices.shape[1:]), 6))
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    left = left[..., :kept] * values[:, None, :kept]
    return left.contiguous(), right[:, :kept].contiguous()  # as a file has them


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

    def names(self) -> tuple[str, ...]:
        """The tensors of which there is something."""
        return tuple(self._keys)

    def has(self, name: str | None) -> bool:
        """Whether the tensor of that name differs between the experts."""
        return name in self._keys

    def columns(self, weight: str) -> Tensor:
        """The factors U_1 … U_K side by side, (o, K r)."""
        return self.get("left", weight).permute(1, 0, 2).flatten(1)

    def shares(self, weight: str) -> Tensor:
        """The coefficients of those columns, (B, K r)."""
        return self.coefficients.repeat_interleave(self.get("right", weight).shape[1], 1)

    def linear(self, x: Tensor, weight: str, bias: str | None) -> Tensor | float:
        """Σ_k c_bk (x V_kᵀ U_kᵀ + e_k) for x (B, T, i): (B, T, o), or (B, i): (B, o).

        Names of tensors that are not here add nothing.
        """
        flat, y = x.dim() == 2, 0.0
        x = x.unsqueeze(1) if flat else x
        if self.has(weight):
            hidden = linear(x, self.get("right", weight).flatten(0, 1))
            y = linear(hidden * self.shares(weight).unsqueeze(1), self.columns(weight))
        if self.has(bias):
            y = y + self.vector(bias).unsqueeze(1)
        return y.squeeze(1) if flat and isinstance(y, Tensor) else y

    def rows(self, numbers: Tensor, table: str) -> Tensor:
        """Rows of Σ_k c_bk U_k V_k by numbers (B, T), (1, T) or (T,): (B, T, d)."""
        numbers = numbers.unsqueeze(0) if numbers.dim() == 1 else numbers
        rows = self.columns(table)[numbers] * self.shares(table).unsqueeze(1)
        return rows @ self.get("right", table).flatten(0, 1)
