"""README's "Add something", done word by word in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mergelib.cache.storage import ROOT
from mergelib.study.book import stage
from mergelib.study.graph import plan
from mergelib.study.profiles import StudyError, load_profile

METHOD = '''"""Half way from the base to the mean of the experts."""

from mergelib.methods.entry import method


@method(title="Half way", family="static", paper="wortsman2022soups")
def half_way(tv, share=0.5):
    """θ0 + share · mean τ."""
    return tv.base + share * tv.deltas.mean(0)
'''
SUITE = '''"""Two tasks on noise: which half is bright, which half is dark?"""

import torch

from mergelib.cache import storage
from mergelib.models.tower import VisionBase
from mergelib.suites.recipe import FineTuning
from mergelib.suites.spec import Spec
from mergelib.suites.suite import SPLITS, Split, Suite, Task

SPEC = Spec(
    name="halves",
    title="two tasks on noise",
    tasks=("bright", "dark"),
    module=__name__,
    base=VisionBase("merge-vit-pico"),
    recipe=FineTuning(epochs=1, lr=5e-3, l2sp=0.0),
    size=16,
)


def key() -> str:
    return storage.key_of_files([__file__])


def build() -> Suite:
    return Suite(SPEC.name, SPEC.size, {name: _task(name) for name in SPEC.tasks})


def _task(name: str) -> Task:
    generator = torch.Generator().manual_seed(len(name))
    splits = {}
    for split in SPLITS:
        labels = torch.arange(40) % 2
        images = torch.randint(80, 160, (40, 3, 16, 16), generator=generator, dtype=torch.uint8)
        change = 60 if name == "bright" else -60
        for image, label in zip(images, labels.tolist(), strict=True):
            image[:, :, 8 * label : 8 * label + 8] += change
        splits[split] = Split(images, labels)
    return Task(name, name.title(), ("left", "right"), ("{}",), "drawn", "Noise.", **splits)
'''
PROFILE = "  halves:\n    title: two tasks on noise\n    suite: halves\n"
PROFILE += "    parameters: {device: cpu, precision: float32}\n"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The project as a reader has it, without what it computed."""
    root = tmp_path_factory.mktemp("add") / "a study"
    ignore = shutil.ignore_patterns("__pycache__", "_executed", ".ipynb_checkpoints")
    for folder in ("mergelib", "notebooks", "book", "profiles", "data"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignore)
    for file in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / file, root)
    return root


def add_line(path, after: str, line: str) -> None:
    """One line, or a few, below the last one that holds `after`, unless they are there."""
    if line in path.read_text(encoding="utf-8"):
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    place = max(i for i, text in enumerate(lines) if after in text) + 1
    path.write_text("".join([*lines[:place], line, *lines[place:]]), encoding="utf-8")


def python(root, *arguments) -> str:
    """What this interpreter prints in the copy, with the copy's own library and cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MERGELIB", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=root,
        env={**kept, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def add_profile(root) -> None:
    add_line(root / "notebooks" / "profiles.yaml", "profiles:", PROFILE)


def add_suite(root, text: str = SUITE) -> None:
    (root / "mergelib" / "suites" / "halves.py").write_text(text)
    registry = root / "mergelib" / "suites" / "registry.py"
    add_line(registry, '"mergelib.suites.vision",', '    "mergelib.suites.halves",\n')


def step_keys(root, profile: str) -> dict[str, str]:
    found = asdict(plan(profile, root))
    return {"suite": found["suite"], **found["experts"], **found["notebooks"]}


def test_every_place_that_the_readme_names_is_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Add something")[2].partition("```")[0]
    places = re.findall(r"`([\w./]+/[\w./]*)`", section)
    assert {"mergelib/methods/registry.py", "mergelib/suites/registry.py"} <= set(places)
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_a_method_is_one_file_and_one_line(root):
    (root / "mergelib" / "merging" / "half_way.py").write_text(METHOD)
    registry = root / "mergelib" / "methods" / "registry.py"
    add_line(registry, '"mergelib.merging.consistent",', '    "mergelib.merging.half_way",\n')
    code = "import json, mergelib as ml; e = ml.methods.entries['half_way']; "
    code += "print(json.dumps([list(ml.methods.entries), e.title, dict(e.defaults)]))"
    names, title, defaults = json.loads(python(root, "-c", code))
    assert "half_way" in names
    assert (title, defaults) == ("Half way", {"share": 0.5})


@pytest.mark.slow
def test_a_suite_is_one_file_one_line_and_a_profile(root):
    before = {name: step_keys(root, name) for name in ("pico", "desk")}
    add_profile(root)
    with pytest.raises(StudyError, match="unknown suite 'halves' in profile 'halves'"):
        plan("halves", root)
    add_suite(root)
    planned = plan("halves", root)
    assert list(planned.experts) == ["bright", "dark"]
    assert planned.profile.precision == "float32" and planned.profile.live
    # What is there already is made from the same as before.
    assert {name: step_keys(root, name) for name in before} == before

    python(root, "-m", "mergelib.study", "prepare", "--profile", "halves")
    made = root / "cache" / "prepared" / "halves"
    assert set(json.loads((made / "suite.json").read_text())["images"]) == {"bright", "dark"}
    for task in ("bright", "dark"):
        expert = json.loads((made / "experts" / f"{task}.json").read_text())
        assert [epoch["epoch"] for epoch in expert["epochs"]] == [1]


def test_a_suite_whose_tasks_cannot_be_read_is_named(root):
    add_profile(root)
    add_suite(root, SUITE.replace('("bright", "dark")', "tuple(NAMES)"))
    with pytest.raises(StudyError, match=r"mergelib\.suites\.halves must hold SPEC = Spec\(name"):
        plan("halves", root)
    (root / "mergelib" / "suites" / "halves.py").unlink()
    with pytest.raises(StudyError, match=r"names the module mergelib\.suites\.halves, and there"):
        plan("halves", root)
    add_suite(root)
    assert list(plan("halves", root).experts) == ["bright", "dark"]


@pytest.mark.slow
def test_a_chapter_is_one_notebook_and_two_entries(root):
    cells = [
        new_markdown_cell("# Mine"),
        new_code_cell('profile = "desk"\nsuite = "desk"\nseed = 0\ndevice = "auto"'),
        new_code_cell("from mergelib import study"),
        new_code_cell('study.record("99_mine", {"seed": seed, "sets": sets}, profile)'),
    ]
    cells[1].source += '\nprecision = "auto"\ntest_inputs = None\nsets = 1'
    cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(new_notebook(cells=cells), root / "notebooks" / "99_mine.ipynb")
    with (root / "notebooks" / "profiles.yaml").open("a") as file:
        file.write("  99_mine:\n    parameters:\n      pico: {sets: 3}\n")
    toc = root / "book" / "_toc.yml"
    add_line(toc, "file: _executed/", "      - file: _executed/99_mine\n")

    planned = plan("pico", root)
    assert list(planned.notebooks)[-1] == "99_mine"
    assert planned.profile.chapters["99_mine"].parameters["sets"] == 3
    python(root, "-m", "mergelib.study", "run", "notebooks/99_mine.ipynb", "--profile", "pico")
    numbers = root / "results" / "pico" / "99_mine.json"
    assert json.loads(numbers.read_text()) == {"seed": 0, "sets": 3}

    chapters = load_profile("pico", root / "notebooks").chapters
    executed = {name: chapter.path for name, chapter in chapters.items()}
    executed["99_mine"] = root / "results" / "pico" / "executed" / "99_mine.ipynb"
    stage(planned.profile, executed, root / "book")
    parts = yaml.safe_load(toc.read_text())["parts"]
    pages = [chapter["file"] for part in parts for chapter in part["chapters"]]
    assert pages.count("_executed/99_mine") == 1
    staged = {f"_executed/{path.stem}" for path in (root / "book/_executed").glob("*.ipynb")}
    assert {page for page in pages if page.startswith("_executed/")} == staged
