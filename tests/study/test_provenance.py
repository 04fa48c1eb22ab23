"""Every page says which number format its encoders computed in, on the machine that made it."""

from dataclasses import replace

import pytest

from mergelib.study.book import provenance
from mergelib.study.profiles import load_profile


@pytest.mark.parametrize(
    ("precision", "fast", "said"),
    [
        ("float32", True, "encoders computed in float32."),
        ("bfloat16", False, "encoders computed in bfloat16."),
        ("auto", True, "computed in bfloat16 (where the processor has it in hardware)."),
        ("auto", False, "computed in float32 (bfloat16 where the processor has it in hardware)."),
    ],
)
def test_a_page_says_its_number_format(monkeypatch, precision, fast, said):
    monkeypatch.setattr("mergelib.models.compute.bfloat16_is_fast", lambda device: fast)
    profile = replace(load_profile("pico"), precision=precision)
    assert provenance(profile).endswith(said)


def test_pico_is_computed_alike_on_every_processor():
    profile = load_profile("pico")
    assert (profile.device, profile.precision) == ("cpu", "float32")
    for chapter in profile.chapters.values():
        assert chapter.parameters["precision"] == "float32"
