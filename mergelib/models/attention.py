"""Self-attention without the detours of torch's module, on the same parameters.

torch's MultiheadAttention turns batch-first inputs around and projects views that are not
contiguous, which copies them (`python benchmarks/encoder.py` says what that costs).
"""

import torch
from torch import Tensor
from torch.nn import Module, MultiheadAttention
from torch.nn.functional import linear, scaled_dot_product_attention


class SelfAttention(MultiheadAttention):
    """softmax(q kᵀ / √d_h) v of every head, with q, k, v = x W_inᵀ + b_in, then W_out, b_out.

    It stands for a MultiheadAttention that is batch-first, in all its calls: those that ask for
    more than plain self-attention (a mask, other keys, the attention weights) are passed on.
    """

    def forward(self, query: Tensor, key: Tensor, value: Tensor, **options):
        asked = {name: value for name, value in options.items() if value is not None}
        plain = not asked.pop("need_weights", True) and not asked
        if not (plain and key is query and value is query and query.dim() == 3):
            return super().forward(query, key, value, **options)
        projected = linear(query, self.in_proj_weight, self.in_proj_bias)
        attended = attend(*heads_of(projected, self.num_heads))
        joined = attended.transpose(1, 2).reshape(query.shape)
        return linear(joined, self.out_proj.weight, self.out_proj.bias), None


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v for q, k, v (B, heads, T, d), and the same shape."""
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return scaled_dot_product_attention(q, k, v)
    # On a CPU with bfloat16 two products with a softmax between them: of torch's own ways the
    # fused one has a slow backward pass and "math" looks for rows that are masked whole.
    shape = q.shape
    q, k, v = (x.reshape(-1, *shape[2:]) for x in (q, k, v))
    weights = (torch.bmm(q, k.mT) * shape[-1] ** -0.5).softmax(-1)
    return torch.bmm(weights.to(v.dtype), v).view(shape)


def use_self_attention(model: Module) -> None:
    """Let every batch-first MultiheadAttention of a model that is freshly built be SelfAttention.

    Parameters and names stay as they are. Attention with biases or zeros added to the keys, or
    with dropout, stays torch's.
    """
    for module in model.modules():
        if type(module) is not MultiheadAttention or not module.batch_first or module.dropout:
            continue
        added = module.bias_k is not None or module.add_zero_attn
        if module.in_proj_weight is not None and not added:
            module.__class__ = SelfAttention  # the same parameters, another forward


def heads_of(projected: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v (B, heads, T, d) of their joint projection (B, T, 3 · heads · d)."""
    batch, tokens, width = projected.shape
    split = projected.view(batch, tokens, 3, heads, width // (3 * heads))
    return split.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
