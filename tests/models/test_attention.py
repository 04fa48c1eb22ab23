"""SelfAttention is torch's MultiheadAttention, call for call."""

import copy

import pytest
import torch
from torch.nn import MultiheadAttention

from mergelib.models.attention import SelfAttention, use_self_attention
from mergelib.models.encoders import build_encoder


def pair(**options):
    """(torch's, ours) with the same random parameters."""
    torch.manual_seed(0)
    theirs = MultiheadAttention(12, 3, batch_first=True, **options).double()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return theirs, use_self_attention(copy.deepcopy(theirs))


@pytest.mark.parametrize("shape", [(1, 1, 12), (2, 5, 12), (3, 37, 12)])
def test_output_and_gradients_are_torchs(shape):
    theirs, ours = pair()
    assert type(ours) is SelfAttention
    found = []
    for attention in (theirs, ours):
        x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        x.requires_grad_()
        y, weights = attention(x, x, x, need_weights=False)
        assert weights is None
        y.square().sum().backward()
        found.append([y, x.grad, *(p.grad for p in attention.parameters())])
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_in_bfloat16_it_is_as_near_to_float32_as_torchs():
    theirs, ours = (attention.float() for attention in pair())
    x = torch.randn(4, 37, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        exact, _ = theirs(x, x, x, need_weights=False)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            errors = [
                (attention(x, x, x, need_weights=False)[0].float() - exact).abs().max()
                for attention in (theirs, ours)
            ]
    assert errors[1] < 1.5 * errors[0] and errors[1] < 0.03 * exact.abs().max()


def test_other_calls_are_passed_on():
    theirs, ours = pair()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    other = torch.randn(2, 5, 12, dtype=torch.float64)
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
    calls = [
        ((x, x, x), {"need_weights": False, "attn_mask": mask}),
        ((x, x, x), {}),
        ((x, other, other), {"need_weights": False}),
        ((x[0], x[0], x[0]), {"need_weights": False}),
    ]
    for inputs, options in calls:
        for a, b in zip(theirs(*inputs, **options), ours(*inputs, **options), strict=True):
            assert (a is None and b is None) or torch.equal(a, b)


def test_attention_of_other_kinds_stays_torchs():
    for options in ({"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6}, {"dropout": 0.1}):
        assert type(pair(**options)[1]) is MultiheadAttention
    first = MultiheadAttention(12, 3)
    assert use_self_attention(first) is first
    with pytest.raises(ValueError, match="does not stand for"):
        SelfAttention.of(first)


def test_it_takes_over_the_parameters_and_draws_no_random_numbers():
    block = torch.nn.ModuleDict({"attn": MultiheadAttention(12, 3, batch_first=True)}).eval()
    before = dict(block.named_parameters())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert use_self_attention(block) is block
    assert torch.equal(torch.rand(3), expected)
    after = dict(block.named_parameters())
    assert list(after) == list(before) and all(after[n] is p for n, p in before.items())
    assert type(block["attn"]) is SelfAttention and not block["attn"].training


def test_the_studys_encoder_has_it_everywhere():
    encoder = build_encoder("merge-vit-pico")
    kinds = {type(m) for m in encoder.modules() if isinstance(m, MultiheadAttention)}
    assert kinds == {SelfAttention}
