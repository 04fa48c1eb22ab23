"""The notebooks: their form, and their run in the profile `pico` against a baseline."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from mergelib.cache.storage import ROOT
from mergelib.study.profiles import load_profile

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BASELINE = Path(__file__).parent / "baseline.json"
PROFILES = yaml.safe_load((ROOT / "notebooks" / "profiles.yaml").read_text())


def code_cells(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [c.source for c in cells if c.cell_type == "code"]


def test_every_notebook_is_a_chapter_of_the_profiles_and_of_the_book():
    stems = [path.stem for path in NOTEBOOKS]
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    files = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    pages = {f.removeprefix("_executed/") for f in files if f.startswith("_executed/")}
    own = {path.stem for path in (ROOT / "book" / "pages").glob("*.ipynb")}
    assert own <= pages
    assert stems == sorted(PROFILES["notebooks"]) == sorted(pages - own)


@pytest.mark.parametrize("profile", PROFILES["profiles"])
def test_every_profile_names_only_what_its_notebooks_declare(profile):
    chapters = load_profile(profile).chapters
    for chapter in chapters.values():
        assert {"profile", "suite", "seed", "device"} <= set(chapter.parameters)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_cells_are_short_and_only_call_the_library(path):
    for i, source in enumerate(code_cells(path), start=1):
        lines = source.splitlines()
        assert len(lines) <= 14, f"code cell {i} has {len(lines)} lines"
        kinds = {type(s) for s in ast.parse(source).body}
        forbidden = {ast.FunctionDef, ast.ClassDef, ast.For, ast.While}
        assert not kinds & forbidden, f"code cell {i} holds a definition or a loop"


def test_the_run_recorded_numbers_for_every_notebook(pico_run):
    for name in pico_run.executed:
        numbers = json.loads((pico_run.folder / "results" / "pico" / f"{name}.json").read_text())
        assert numbers, name


def test_numbers_agree_with_the_baseline(pico_run):
    """Every entry of the baseline is a value and how far a run may lie from it (imitate.py)."""
    recorded = {
        name: json.loads((pico_run.folder / "results" / "pico" / f"{name}.json").read_text())
        for name in pico_run.executed
    }
    baseline = json.loads(BASELINE.read_text())
    assert set(baseline) == set(recorded)
    off = [
        f"{name}: {key} is {recorded[name][key]:.4g}, not {entry['value']} ± {entry['within']}"
        for name, entries in baseline.items()
        for key, entry in entries.items()
        if abs(recorded[name][key] - entry["value"]) > entry["within"]
    ]
    assert not off, "\n".join(off)


def test_a_second_run_prints_the_same(pico_run):
    """nbval runs the executed notebooks again and compares every output but the pictures."""
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q"]
    options = ["-p", "no:cacheprovider", "--rootdir", str(pico_run.folder)]
    files = [str(path) for path in pico_run.executed.values()]
    done = subprocess.run(
        [*command, *options, *files],
        cwd=pico_run.folder,
        env={**pico_run.environment, "TQDM_DISABLE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
