"""Numbers kept for the record carry where they come from."""

import json
from dataclasses import replace

import pytest

from mergelib.study.measured import keep, provenance
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


@pytest.mark.parametrize(
    "name, command",
    [
        ("pico", "make book PROFILE=pico"),
        ("pico-seed-1", "make book PROFILE=pico-seed-1"),
        ("vision-desk-full-seed-2", "make measure PROFILE=vision-desk SEEDS=2"),
    ],
)
def test_the_command_that_makes_the_numbers_again(name, command):
    assert provenance(replace(load_profile("pico"), name=name))["command"] == command
