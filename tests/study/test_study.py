"""Profiles, results and the running of notebooks: what is refused, what is left behind."""

import json
import math
import os
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import papermill
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from mergelib import study
from mergelib.cache.storage import ROOT
from mergelib.study.execute import NotebookFailed, run_notebook
from mergelib.study.profiles import (
    StudyError,
    check_parameters,
    declared_parameters,
    load_profile,
)
from mergelib.study.results import plain

PARAMETERS = 'profile = "desk"\nsuite = "desk"\nscale: float = 0.3  # λ\nsteps = [1, 2]'
RECORD = 'from mergelib import study\n\nstudy.record("chapter", {"scale": scale}, profile)'


def write_notebook(path, *sources, parameters=PARAMETERS):
    cells = [new_code_cell(source) for source in sources]
    cells.insert(0, new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    path.parent.mkdir(parents=True, exist_ok=True)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder of results of this test's own."""
    monkeypatch.setenv("MERGELIB_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path / "results"


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


# Results


def test_numbers_come_back_as_plain_python(results):
    numbers = {
        "a": np.float64(0.1),
        "b": torch.tensor(3),
        "c": {"d": np.arange(3), "e": [torch.tensor(0.5), None, "text", True]},
    }
    study.record("chapter", numbers, "pico")
    back = study.recall("chapter", "pico")
    assert back == {"a": 0.1, "b": 3, "c": {"d": [0, 1, 2], "e": [0.5, None, "text", True]}}
    assert type(plain(np.float64(0.1))) is float
    assert contents(results / "pico") == ["chapter.json"]


@pytest.mark.parametrize(
    "bad", [math.nan, math.inf, np.float32("nan"), torch.tensor([1.0, math.inf])]
)
def test_a_number_that_is_not_finite_is_refused_by_name_and_the_old_file_stays(results, bad):
    study.record("chapter", {"mean": 1.0}, "pico")
    with pytest.raises(ValueError, match=r"chapter\.worst"):
        study.record("chapter", {"worst": bad}, "pico")
    assert study.recall("chapter", "pico") == {"mean": 1.0}
    assert contents(results / "pico") == ["chapter.json"]


def test_only_numbers_and_text_are_recorded(results):
    with pytest.raises(TypeError, match=r"chapter\.model is a Linear"):
        study.record("chapter", {"model": torch.nn.Linear(1, 1)}, "pico")


def test_missing_numbers_say_which_notebook_to_run(results):
    with pytest.raises(FileNotFoundError, match=r"run notebooks/02_x\.ipynb first"):
        study.recall("02_x", "pico")


def test_profiles_do_not_share_results(results):
    study.record("chapter", {"n": 1}, "pico")
    study.record("chapter", {"n": 2}, "desk")
    assert study.recall("chapter", "pico") == {"n": 1}


def test_only_single_values_can_be_quoted():
    with pytest.raises(TypeError, match="accuracies"):
        study.glue("accuracies", [0.1, 0.2])


# Parameters


def test_declared_parameters_are_those_papermill_sees(tmp_path):
    path = write_notebook(tmp_path / "chapter.ipynb")
    declared = declared_parameters(path)
    assert declared == {"profile": "desk", "suite": "desk", "scale": 0.3, "steps": [1, 2]}
    assert set(declared) == set(papermill.inspect_notebook(str(path)))


def test_an_unknown_parameter_is_refused_with_the_nearest_name(tmp_path):
    path = write_notebook(tmp_path / "chapter.ipynb")
    with pytest.raises(StudyError, match=r"'scael' in chapter\.ipynb; did you mean 'scale'\?"):
        check_parameters(path, {"scael": 1})


def test_a_notebook_without_parameters_is_refused(tmp_path):
    path = tmp_path / "bare.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), path)
    with pytest.raises(StudyError, match=r"bare\.ipynb has no cell tagged 'parameters'"):
        check_parameters(path, {})


PROFILES = """
profiles:
  small: {title: t, suite: pico, parameters: {scale: 0.1}}
  large: {title: t, suite: desk}
notebooks:
  first:
  second:
    needs: [first]
    parameters:
      all: {scale: 0.2, steps: [3]}
      small: {scale: 0.4}
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("first", "second"):
        write_notebook(tmp_path / f"{name}.ipynb")
    (tmp_path / "profiles.yaml").write_text(PROFILES)
    return tmp_path


def test_parameters_are_merged_from_general_to_particular(folder):
    small, large = (load_profile(name, folder).chapters for name in ("small", "large"))
    assert small["first"].parameters == {"profile": "small", "suite": "pico", "scale": 0.1}
    assert small["second"].parameters == {
        "profile": "small",
        "suite": "pico",
        "scale": 0.4,
        "steps": [3],
    }
    assert large["second"].parameters["scale"] == 0.2
    assert small["second"].needs == ("first",)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("scale: 0.4", "scael: 0.4", "unknown parameter 'scael' in second.ipynb; did you mean"),
        ("suite: pico", "siute: pico", "unknown field 'siute'.*did you mean 'suite'"),
        ("      small:", "      smal:", "unknown field 'smal'.*parameters of second"),
        ("needs: [first]", "needs: [third]", "'second' needs 'third', which is not run before"),
        ("  first:", "  frist:", "names notebook 'frist', but frist.ipynb is missing"),
    ],
)
def test_a_mistake_in_the_profiles_is_named(folder, old, new, message):
    (folder / "profiles.yaml").write_text(PROFILES.replace(old, new, 1))
    with pytest.raises(StudyError, match=message):
        load_profile("small", folder)


LONGER = """
full: {scale: 0.7}
notebooks:
  first:
  second:
    needs: [first]
    parameters:
      all: {steps: [3]}
      full: {steps: [30], scale: 0.8}
      small: {scale: 0.4}
      small-full: {steps: [40]}
"""


def test_a_longer_run_and_another_seed_are_part_of_the_name(folder):
    text = PROFILES.partition("notebooks:")[0].replace("scale: 0.1", "scale: 0.1, seed: 0")
    (folder / "profiles.yaml").write_text(text + LONGER)
    write_notebook(folder / "first.ipynb", parameters=PARAMETERS + "\nseed = 0")
    write_notebook(folder / "second.ipynb", parameters=PARAMETERS + "\nseed = 0")
    names = ("small", "small-full", "small-seed-2", "small-full-seed-12", "large-full")
    found = {name: load_profile(name, folder) for name in names}
    assert [p.seed for p in found.values()] == [0, 0, 2, 12, 0]
    assert [p.live for p in found.values()] == [True, False, False, False, False]
    first = {name: p.chapters["first"].parameters for name, p in found.items()}
    second = {name: p.chapters["second"].parameters for name, p in found.items()}
    assert [p["scale"] for p in first.values()] == [0.1, 0.7, 0.1, 0.7, 0.7]
    assert [p["scale"] for p in second.values()] == [0.4, 0.8, 0.4, 0.8, 0.8]
    assert [p["steps"] for p in second.values()] == [[3], [40], [3], [40], [30]]
    assert second["small-full-seed-12"]["profile"] == "small-full-seed-12"
    assert "seed" not in second["large-full"] and second["small-full-seed-12"]["seed"] == 12
    assert found["small-full"].title == "t, full length"


@pytest.mark.parametrize("name", ["smal-full", "smal-seed-1", "smal-full-seed-1", "smal"])
def test_the_unknown_part_of_a_longer_name_is_refused(folder, name):
    with pytest.raises(StudyError, match="unknown profile 'smal'.*did you mean 'small'"):
        load_profile(name, folder)


def test_an_unknown_profile_is_refused(folder):
    with pytest.raises(StudyError, match="'smal'.*did you mean 'small'"):
        load_profile("smal", folder)


# Runs


def test_a_run_leaves_the_executed_notebook_and_its_numbers(tmp_path, results):
    path, out, lines = write_notebook(tmp_path / "chapter.ipynb", RECORD), tmp_path / "out", []
    given = {"profile": "pico", "scale": 0.7}
    run_notebook(path, out / "chapter.ipynb", given, say=lines.append)
    assert contents(out) == ["chapter.ipynb"]
    assert study.recall("chapter", "pico") == {"scale": 0.7}
    assert any("cell  3/3" in line and "chapter" in line for line in lines)


def test_equal_runs_are_equal_files(tmp_path, results):
    path = write_notebook(tmp_path / "chapter.ipynb", RECORD)
    files = [tmp_path / folder / "chapter.ipynb" for folder in "ab"]
    for out in files:
        run_notebook(path, out, {"profile": "pico"}, say=lambda line: None)
    texts = [out.read_text() for out in files]
    # The cell that papermill adds has a random id.
    ids = [json.loads(t)["cells"][1].get("id", "") for t in texts]
    assert texts[0].replace(ids[0], "") == texts[1].replace(ids[1], "")
    assert str(tmp_path) not in texts[0]


def test_a_failed_run_is_kept_apart_and_says_where_it_failed(tmp_path, results):
    path = write_notebook(tmp_path / "chapter.ipynb", RECORD, "scale / 0", "1")
    out = tmp_path / "out" / "chapter.ipynb"
    with pytest.raises(NotebookFailed, match="code cell 4 of 5 with ZeroDivisionError"):
        run_notebook(path, out, {"profile": "pico"}, say=lambda line: None)
    assert contents(out.parent) == ["chapter.failed.ipynb"]

    write_notebook(path, RECORD)
    run_notebook(path, out, {"profile": "pico"}, say=lambda line: None)
    assert contents(out.parent) == ["chapter.ipynb"]


def test_a_failed_run_does_not_touch_the_last_good_one(tmp_path, results):
    path, out = write_notebook(tmp_path / "chapter.ipynb", RECORD), tmp_path / "out" / "c.ipynb"
    run_notebook(path, out, {"profile": "pico"}, say=lambda line: None)
    good = out.read_bytes()
    write_notebook(path, RECORD, "scale / 0")
    with pytest.raises(NotebookFailed):
        run_notebook(path, out, {"profile": "pico"}, say=lambda line: None)
    assert out.read_bytes() == good


def test_a_notebook_that_records_nothing_fails(tmp_path, results):
    path, out = write_notebook(tmp_path / "chapter.ipynb", "1"), tmp_path / "out" / "c.ipynb"
    with pytest.raises(NotebookFailed, match="recorded no numbers"):
        run_notebook(path, out, {"profile": "pico"}, say=lambda line: None)
    assert contents(out.parent) == []


# The command line


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "mergelib.study", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_the_command_refuses_an_unknown_parameter_before_anything_runs(tmp_path, results):
    path = write_notebook(tmp_path / "a folder" / "chapter.ipynb", RECORD)
    out = tmp_path / "out.ipynb"
    done = command("run", path, "--profile", "pico", "--out", out, "-p", "scael", 1, cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'scale'?" in done.stderr and done.stderr.count("\n") == 1
    assert not out.exists() and not results.exists()


def test_the_command_runs_from_any_folder(tmp_path, results):
    path = write_notebook(tmp_path / "a folder" / "chapter.ipynb", RECORD)
    out = tmp_path / "out" / "chapter.ipynb"
    done = command("run", path, "--profile", "pico", "--out", out, "-p", "scale", 0.9, cwd="/")
    assert done.returncode == 0, done.stderr
    assert study.recall("chapter", "pico") == {"scale": 0.9}
    assert contents(out.parent) == ["chapter.ipynb"]


def test_no_package_index_is_named():
    """Users have their own; an index in a file would overrule it."""
    named = ("--index" + "-url", "--extra-index" + "-url", "--find" + "-links")
    files = ("Makefile", "pyproject.toml", "constraints.txt", "environment.yml", ".ci/run")
    for file in files:
        text = (ROOT / file).read_text()
        assert not any(option in text for option in named), file


def test_make_without_a_goal_explains_itself():
    make = shutil.which("make")
    assert make is not None, "install make"
    done = subprocess.run([make, "-C", str(ROOT)], capture_output=True, text=True)
    for goal in ("make book", "make test", "make clean"):
        assert goal in done.stdout
