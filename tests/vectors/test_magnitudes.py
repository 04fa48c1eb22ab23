"""Selection by magnitude against sorting."""

import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelib.vectors.magnitudes import smallest_kept_magnitude


@settings(max_examples=80, deadline=None)
@given(
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1),
    data=st.data(),
)
def test_selection_equals_sorting(values, data):
    count = data.draw(st.integers(1, len(values)))
    found = smallest_kept_magnitude(torch.tensor(values), count)
    expected = np.sort(np.abs(np.array(values, np.float32)))[::-1][count - 1]
    assert struct.pack("f", found) == struct.pack("f", expected)


@pytest.mark.parametrize("share", [1e-6, 0.01, 0.2, 0.5, 0.999])
def test_selection_equals_sorting_on_long_vectors(share):
    size = (1 << 20) + 17
    values = torch.randn(size, generator=torch.Generator().manual_seed(0)) * 1e-3
    values[::3] = 0
    count = max(1, int(size * share))
    expected = values.abs().sort(descending=True).values[count - 1].item()
    assert smallest_kept_magnitude(values, count) == expected


def test_selection_refuses_a_count_out_of_range():
    for count in (0, 4):
        with pytest.raises(ValueError, match="between 1 and 3"):
            smallest_kept_magnitude(torch.ones(3), count)
