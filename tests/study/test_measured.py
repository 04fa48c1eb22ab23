"""Numbers kept for the record carry where they come from."""

import json

import pytest

from mergelib.study.measured import keep
from mergelib.study.profiles import StudyError, load_profile
from mergelib.study.results import record


def test_kept_numbers_are_the_recorded_ones_with_their_origin(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGELIB_RESULTS", str(tmp_path / "results"))
    profile = load_profile("pico")
    names = list(profile.chapters)
    with pytest.raises(StudyError, match=f"no numbers of '{names[0]}'"):
        keep(profile, tmp_path)
    for i, name in enumerate(names):
        record(name, {"value": i + 0.5}, "pico")
    kept = json.loads(keep(profile, tmp_path).read_text())
    assert kept["numbers"] == {name: {"value": i + 0.5} for i, name in enumerate(names)}
    assert kept["provenance"]["suite"] == "pico"
    assert kept["provenance"]["parameters"][names[0]]["seed"] == 0
    assert kept["provenance"]["number_format"] == "float32"
    assert kept["provenance"]["versions"]["torch"].startswith("2.")
