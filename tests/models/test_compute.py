"""Devices and number formats: what the words mean, and that they are obeyed."""

import pytest
import torch

from mergelib.models import compute

CPU = torch.device("cpu")


@pytest.mark.parametrize("fast", [True, False])
def test_words_mean_themselves_and_auto_asks_the_processor(monkeypatch, fast):
    monkeypatch.setattr(compute, "bfloat16_is_fast", lambda device: fast)
    assert compute.number_format(CPU) == ("bfloat16" if fast else "float32")
    assert compute.number_format(CPU, "float32") == "float32"
    assert compute.number_format(CPU, "bfloat16") == "bfloat16"


def test_an_unknown_word_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown precision 'float23'.*did you mean 'float32'"):
        compute.number_format(CPU, "float23")
    with (
        pytest.raises(ValueError, match="unknown precision 'half'"),
        compute.mixed_precision(CPU, "half"),
    ):
        pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_products_have_the_format_that_was_asked_for(precision):
    layer = torch.nn.Linear(4, 3)
    with compute.mixed_precision(CPU, precision):
        made = layer(torch.ones(2, 4))
    assert made.dtype == getattr(torch, precision)
    assert layer.weight.dtype == torch.float32
