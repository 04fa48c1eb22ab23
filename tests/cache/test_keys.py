"""Content keys: a change reaches exactly the steps that depend on it."""

import json
import os
import shutil
from dataclasses import asdict

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mergelib.cache import keys, sources
from mergelib.cache.storage import ROOT
from mergelib.study.graph import plan
from mergelib.study.profiles import StudyError
from mergelib.suites.bases import base_of
from mergelib.training import experts

PROFILES = """
profiles:
  pico: {title: t, suite: pico, files: [data/base.bin]}
  desk: {title: t, suite: desk}
notebooks:
  first:
  second: {needs: [first], parameters: {pico: {scale: 0.5}}}
  third: {files: [data/published.csv]}
"""
CODE = {
    "first": "from mergelib import figures\nfigures.scale_curve(1)",
    "second": "import mergelib as ml\nml.merging.ties(1)",
    "third": "from mergelib.figures import accuracy_dots\naccuracy_dots(1)",
}


@pytest.fixture
def tree(tmp_path):
    """A small study with this package's own sources of steps before the notebooks."""
    root = tmp_path / "a study"
    shutil.copytree(
        ROOT / "mergelib", root / "mergelib", ignore=shutil.ignore_patterns("__pycache__")
    )
    for folder in ("merging", "figures"):
        shutil.rmtree(root / "mergelib" / folder)
    files = {
        "mergelib/__init__.py": "from mergelib import merging\n",
        "mergelib/merging/__init__.py": "from mergelib.merging.ties import ties\n"
        "from mergelib.merging.dare import dare\n",
        "mergelib/merging/ties.py": "from .trim import trim\n\ndef ties(x):\n    trim(x)\n",
        "mergelib/merging/trim.py": "def trim(x):\n    return x\n",
        "mergelib/merging/dare.py": "def dare(x):\n    return x\n",
        "mergelib/figures/__init__.py": "from mergelib.figures.curves import scale_curve\n"
        "from mergelib.figures.dots import accuracy_dots\n",
        "mergelib/figures/curves.py": "from mergelib.figures import style\n\n"
        "def scale_curve(x):\n    style.use()\n",
        "mergelib/figures/dots.py": "def accuracy_dots(x):\n    from . import style\n",
        "mergelib/figures/style.py": "def use():\n    pass\n",
        "book/index.md": "# Title\n",
        "_config.yml": "title: t\n",
        "data/base.bin": "weights",
        "data/published.csv": "1,2\n",
        "notebooks/profiles.yaml": PROFILES,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, code in CODE.items():
        parameters = 'profile = ""\nsuite = ""\nscale = 0.3\nseed = 0'
        cells = [
            new_markdown_cell("# A chapter"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            new_code_cell(code),
        ]
        nbformat.write(new_notebook(cells=cells), root / "notebooks" / f"{name}.ipynb")
    return root


def step_keys(root, profile="pico") -> dict[str, str]:
    found = asdict(plan(profile, root))
    flat = {"suite": found["suite"], "book": found["book"]}
    return flat | found["experts"] | found["notebooks"]


def changed_steps(root, change, profile="pico") -> set[str]:
    before = step_keys(root, profile)
    change()
    after = step_keys(root, profile)
    return {step for step in before if before[step] != after[step]}


NOTEBOOKS = {"first", "second", "third"}
EXPERTS = {"digits", "bars", "spots"}


@pytest.mark.parametrize(
    "file, expected",
    [
        ("mergelib/merging/ties.py", {"second", "book"}),
        ("mergelib/merging/trim.py", {"second", "book"}),
        ("mergelib/merging/dare.py", set()),
        ("mergelib/figures/curves.py", {"first", "second", "book"}),
        ("mergelib/figures/dots.py", {"third", "book"}),
        ("mergelib/figures/style.py", {*NOTEBOOKS, "book"}),
        ("mergelib/training/finetune.py", {*EXPERTS, *NOTEBOOKS, "book"}),
        ("mergelib/suites/pico.py", {"suite", *EXPERTS, *NOTEBOOKS, "book"}),
        ("mergelib/suites/vision_desk/digits.py", set()),
        ("mergelib/suites/vision_desk/spec.py", set()),
        ("mergelib/suites/registry.py", set()),
        ("mergelib/suites/suite.py", {"suite", *EXPERTS, *NOTEBOOKS, "book"}),
        ("mergelib/models/configs/merge-vit-pico.json", {"suite", *EXPERTS, *NOTEBOOKS, "book"}),
        ("mergelib/study/execute.py", {*NOTEBOOKS, "book"}),
        ("mergelib/study/book.py", {"book"}),
        ("data/base.bin", {"suite", *EXPERTS, *NOTEBOOKS, "book"}),
        ("data/published.csv", {"third", "book"}),
        ("book/index.md", {"book"}),
        ("_config.yml", {"book"}),
    ],
)
def test_a_changed_file_reaches_what_depends_on_it_and_nothing_else(tree, file, expected):
    def change():
        with (tree / file).open("a") as stream:
            stream.write("\n")

    assert changed_steps(tree, change) == expected


def edit_notebook(path, edit):
    notebook = json.loads(path.read_text())
    edit(notebook)
    path.write_text(json.dumps(notebook, indent=2))


def test_a_changed_cell_reaches_its_notebook_and_those_that_need_it(tree):
    def edit(notebook):
        notebook["cells"][0]["source"] = ["# Another title"]

    path = tree / "notebooks" / "first.ipynb"
    assert changed_steps(tree, lambda: edit_notebook(path, edit)) == {"first", "second", "book"}


def test_outputs_counts_ids_and_kernel_of_a_notebook_are_not_content(tree):
    def edit(notebook):
        notebook["metadata"]["kernelspec"] = {"name": "other"}
        notebook["cells"][2]["execution_count"] = 7
        notebook["cells"][2]["id"] = "other"
        notebook["cells"][2]["outputs"] = [
            {"output_type": "stream", "name": "stdout", "text": ["x"]}
        ]

    path = tree / "notebooks" / "first.ipynb"
    assert changed_steps(tree, lambda: edit_notebook(path, edit)) == set()


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("{scale: 0.5}", "{scale: 0.6}", {"second", "book"}),
        ("{pico: {scale: 0.5}}", "{pico: {scale: 0.5}, desk: {scale: 0.1}}", set()),
        ("# none", "# a comment", set()),
        ("suite: pico,", "suite: pico, parameters: {seed: 1},", {*EXPERTS, *NOTEBOOKS, "book"}),
    ],
)
def test_a_changed_parameter_reaches_its_notebook(tree, old, new, expected):
    path = tree / "notebooks" / "profiles.yaml"
    path.write_text(PROFILES + "# none\n")
    change = path.read_text().replace(old, new)
    assert changed_steps(tree, lambda: path.write_text(change)) == expected


def test_dates_and_places_of_files_do_not_matter(tree, tmp_path):
    def touch():
        for path in tree.rglob("*"):
            os.utime(path, (1, 1))

    assert changed_steps(tree, touch) == set()
    other = shutil.copytree(tree, tmp_path / "elsewhere")
    assert step_keys(other) == step_keys(tree)


def test_versions_of_the_numerical_packages_count(tree, monkeypatch):
    versions = {**keys.versions(), "torch": "0.0"}
    change = lambda: monkeypatch.setattr(keys, "versions", lambda: versions)  # noqa: E731
    assert changed_steps(tree, change) == {"suite", *EXPERTS, *NOTEBOOKS, "book"}


def test_profiles_have_keys_of_their_own(tree):
    pico, desk = step_keys(tree, "pico"), step_keys(tree, "desk")
    assert not {pico[step] for step in pico} & {desk[step] for step in desk}


def test_missing_data_are_named(tree, monkeypatch):
    (tree / "data" / "base.bin").unlink()
    with pytest.raises(StudyError, match=r"'data/base\.bin', and there are none"):
        plan("pico", tree)
    monkeypatch.delenv("MERGELIB_NOWHERE", raising=False)
    text = PROFILES.replace("data/base.bin", "$MERGELIB_NOWHERE/x")
    (tree / "notebooks" / "profiles.yaml").write_text(text)
    with pytest.raises(StudyError, match="environment variable.*MERGELIB_NOWHERE"):
        plan("pico", tree)


@pytest.mark.parametrize(
    "source, used",
    [
        ("import mergelib as ml\nml.merging.dare(1)", {"mergelib.merging.dare"}),
        ("import mergelib.merging", {"mergelib.merging"}),
        ("from mergelib import merging\nf(merging)", {"mergelib.merging"}),
        ("from mergelib.merging import *", {"mergelib.merging"}),
        ("from mergelib.merging.ties import ties", {"mergelib.merging.ties"}),
        ("from mergelib import figures as f\nf.style.use()", {"mergelib.figures.style"}),
        ("def late():\n    from mergelib.figures import style", {"mergelib.figures.style"}),
        ("NAMES = {'x': 'mergelib.figures.dots'}", {"mergelib.figures.dots"}),
        (
            "m = import_module(f'mergelib.figures.{name}')",
            {f"mergelib.figures.{m}" for m in ("curves", "dots", "style")},
        ),
        ("import numpy as np\nnp.merging.dare(1)", set()),
        ("%matplotlib inline\nfrom mergelib.figures import style", {"mergelib.figures.style"}),
    ],
)
def test_what_a_cell_uses(tree, source, used):
    path = tree / "notebooks" / "cell.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    assert sources.used_by_notebook(path, tree) == used


def test_a_missing_module_is_named(tree):
    with pytest.raises(ModuleNotFoundError, match=r"mergelib\.nothing"):
        sources.closure(["mergelib.nothing"], root=tree)


@pytest.mark.parametrize("made", [experts.HEADS_ARE_MADE_BY, experts.EXPERTS_ARE_MADE_BY])
def test_another_way_to_compute_makes_new_heads_and_experts(tree, made):
    def key():
        # As mergelib.training.experts asks: what makes the base belongs to it.
        modules = (*base_of("pico").modules, *made)
        return keys.computation_key(modules, experts.SUITES, tree)

    def changed(name):
        before, path = key(), tree / "mergelib" / name
        path.write_text(path.read_text() + "\nA = 1\n")
        return key() != before

    assert changed("models/attention.py")
    assert changed("models/encoders.py")
    assert changed("evaluation.py")
    assert changed("models/tower.py")
    assert not changed("models/text.py")
    assert not changed("merging/ties.py")
    assert not changed("suites/pico.py")
