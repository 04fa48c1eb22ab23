"""Attention with mixed projections is called, and answers, as torch's MultiheadAttention."""

import pytest
import torch
from torch.nn import MultiheadAttention

from mergelib.models.attention import AsTorch

B, T, HEADS, WIDTH = 3, 5, 2, 8


def pair(batch_first=True):
    """(torch's, AsTorch with the same weights, the list of what its project was given)."""
    torch.manual_seed(0)
    theirs, seen = MultiheadAttention(WIDTH, HEADS, batch_first=batch_first).eval(), []

    def project(x, real):
        seen.append(real)
        return torch.nn.functional.linear(
            x, theirs.in_proj_weight, theirs.in_proj_bias
        ), theirs.out_proj

    return theirs, AsTorch("here", HEADS, batch_first, project), seen


CAUSAL = torch.ones(T, T, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * 5, [False] * 3 + [True] * 2, [False] + [True] * 4])
EACH = torch.randn(B * HEADS, T, T, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"attn_mask": CAUSAL},
        {"attn_mask": torch.zeros(T, T).masked_fill(CAUSAL, -torch.inf)},
        {"attn_mask": CAUSAL, "is_causal": True},
        {"attn_mask": EACH},
        {"key_padding_mask": PADDING},
        {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
    ],
    ids=lambda masks: " and ".join(masks) or "plain",
)
@pytest.mark.parametrize("weights", [{"need_weights": False}, {}, {"average_attn_weights": False}])
@torch.no_grad()
def test_outputs_and_weights_are_torchs(batch_first, masks, weights):
    theirs, ours, seen = pair(batch_first)
    x = torch.randn((B, T, WIDTH) if batch_first else (T, B, WIDTH))
    expected, shares = theirs(x, x, x, **masks, **weights)
    found, own = ours(x, x, x, **masks, **weights)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert (own is None) == (shares is None)
    if own is not None:
        torch.testing.assert_close(own, shares, rtol=1e-5, atol=1e-6)
    real = seen[0]
    assert (real is None) if "key_padding_mask" not in masks else torch.equal(real, ~PADDING)


def test_other_calls_are_refused_in_a_sentence():
    _, ours, _ = pair()
    x = torch.randn(B, T, WIDTH)
    for inputs in ((x, x + 1, x), (x, x, x + 1), (x[0],) * 3):
        with pytest.raises(ValueError, match="here: a mixture is self-attention of batches"):
            ours(*inputs)
    with pytest.raises(ValueError, match="is_causal is a hint"):
        ours(x, x, x, is_causal=True)
