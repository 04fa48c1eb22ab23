"""Self-attention without the detours of torch's module, on the same parameters.

torch's MultiheadAttention turns batch-first inputs around and projects views that are not
contiguous, which copies them (`python benchmarks/encoder.py` says what that costs).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Module, MultiheadAttention
from torch.nn.functional import linear, scaled_dot_product_attention


class SelfAttention(MultiheadAttention):
    """softmax(q kᵀ / √d_h) v of every head, with q, k, v = x W_inᵀ + b_in, then W_out, b_out.

    It stands for a MultiheadAttention that is batch-first, in all its calls: those that ask for
    more than plain self-attention (a mask, other keys, the attention weights) are passed on.
    """

    @classmethod
    def of(cls, module: MultiheadAttention) -> "SelfAttention":
        """The same attention, with the very parameters of `module` under the same names.

        Raises ValueError if `module` is of a kind that this does not stand for.
        """
        if not stands_for(module):
            raise ValueError(f"SelfAttention does not stand for {module} as it was made")
        made = cls(module.embed_dim, module.num_heads, batch_first=True, device="meta")
        made.in_proj_weight, made.in_proj_bias = module.in_proj_weight, module.in_proj_bias
        made.out_proj = module.out_proj
        return made.train(module.training)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options):
        asked = {name: value for name, value in options.items() if value is not None}
        plain = not asked.pop("need_weights", True) and not asked
        if not (plain and key is query and value is query and query.dim() == 3):
            return super().forward(query, key, value, **options)
        projected = linear(query, self.in_proj_weight, self.in_proj_bias)
        attended = attend(*heads_of(projected, self.num_heads))
        joined = attended.transpose(1, 2).reshape(query.shape)
        return linear(joined, self.out_proj.weight, self.out_proj.bias), None


def stands_for(module: Module) -> bool:
    """Whether it is torch's own attention, batch-first, with one input projection and nothing
    added to the keys or dropped."""
    return (
        type(module) is MultiheadAttention
        and module.batch_first
        and not module.dropout
        and module.in_proj_weight is not None
        and module.bias_k is None
        and not module.add_zero_attn
    )


def use_self_attention(model: Module) -> Module:
    """The model with SelfAttention in the place of every attention that it stands for; the model
    itself unless it is one.

    Parameters and names stay as they are. Attention of other kinds stays torch's.
    """
    if stands_for(model):
        return SelfAttention.of(model)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if stands_for(child):
                setattr(parent, name, SelfAttention.of(child))
    return model


@dataclass(frozen=True)
class AsTorch:
    """Self-attention with the arguments and results of torch's MultiheadAttention.

    project(x, real) gives q, k and v (B, T, 3 · heads · d) of x (B, T, d), and the function that
    makes the result (B, T, d) of the joined heads; `real` (B, T) is False where padding is said
    to be, or None. `name` is what error messages call it.
    """

    name: str
    heads: int
    batch_first: bool
    project: Callable[[Tensor, Tensor | None], tuple[Tensor, Callable[[Tensor], Tensor]]]

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(result, attention weights or None), as torch has them.

        Boolean masks are True where attention is forbidden, others are added; `is_causal` is a
        hint that `attn_mask` makes unnecessary. Raises ValueError for other keys than the queries
        and for inputs without a batch.
        """
        if key is not query or value is not query or query.dim() != 3:
            raise ValueError(
                f"{self.name}: a mixture is self-attention of batches, so query, key and value "
                "must be one tensor of three dimensions"
            )
        if is_causal and attn_mask is None:
            raise ValueError(f"{self.name}: is_causal is a hint that needs attn_mask beside it")
        x, real, weights = (query if self.batch_first else query.transpose(0, 1)), None, None
        if (hidden := key_padding_mask) is not None:
            real = ~hidden if hidden.dtype == torch.bool else hidden == 0
        projected, write = self.project(x, real)
        q, k, v = heads_of(projected, self.heads)
        mask = _added(attn_mask, key_padding_mask, q)
        if need_weights:
            scores = q @ k.mT * q.shape[-1] ** -0.5
            weights = (scores if mask is None else scores + mask).softmax(-1)
            attended, weights = weights @ v, weights.mean(1) if average_attn_weights else weights
        else:
            attended = attend(q, k, v, mask)
        y = write(attended.transpose(1, 2).reshape(x.shape))
        return (y if self.batch_first else y.transpose(0, 1)), weights


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ / √d + mask) v for q, k, v (B, heads, T, d), and the same shape."""
    if mask is not None or q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return scaled_dot_product_attention(q, k, v, mask)
    # On a CPU with bfloat16 two products with a softmax between them: of torch's own ways the
    # fused one has a slow backward pass and "math" looks for rows that are masked whole.
    shape = q.shape
    q, k, v = (x.reshape(-1, *shape[2:]) for x in (q, k, v))
    weights = (torch.bmm(q, k.mT) * shape[-1] ** -0.5).softmax(-1)
    return torch.bmm(weights.to(v.dtype), v).view(shape)


def heads_of(projected: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v (B, heads, T, d) of their joint projection (B, T, 3 · heads · d)."""
    batch, tokens, width = projected.shape
    split = projected.view(batch, tokens, 3, heads, width // (3 * heads))
    return split.permute(2, 0, 3, 1, 4).contiguous().unbind(0)


def _added(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
    """What is added to the scores (B, heads, T, T) of q: −∞ where a mask forbids, or None."""
    batch, heads, tokens = q.shape[:3]
    total = None
    if attn_mask is not None:  # (T, T) or (B · heads, T, T)
        shape = (tokens, tokens) if attn_mask.dim() == 2 else (batch, heads, tokens, tokens)
        total = _floating(attn_mask.reshape(shape), q)
    if padding is not None:  # (B, T)
        padding = _floating(padding, q)[:, None, None]
        total = padding if total is None else total + padding
    return total


def _floating(mask: Tensor, q: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(q.dtype)
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, -torch.inf)
