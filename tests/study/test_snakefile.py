"""The graph itself, run by snakemake on a small copy of the study: caching, resuming, locking."""

import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mergelib.cache.storage import ROOT

PROFILES = """
profiles:
  pico: {title: a copy, suite: pico}
notebooks:
  first:
  second: {needs: [first]}
"""
# Stands for the making of suite and experts, which tests of their own look at.
PREPARE = """
from mergelib.study.progress import say

def prepare_task(profile, stage, task=None):
    say(f"{stage} · {task}")
    return {}
"""
FIRST = "study.record('first', {'n': 1}, profile)"
SECOND = "study.record('second', study.recall('first', profile), profile)"


def write_notebook(root, name, *code):
    parameters = 'profile = ""\nsuite = ""'
    cells = [
        new_markdown_cell(f"# {name}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        new_code_cell("from mergelib import study"),
        *map(new_code_cell, code),
    ]
    nbformat.write(new_notebook(cells=cells), root / "notebooks" / f"{name}.ipynb")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("graph") / "a study"
    ignore = shutil.ignore_patterns("__pycache__", "_executed", "pages")
    for folder in ("mergelib", "book", "profiles"):
        shutil.copytree(ROOT / folder, root / folder, ignore=ignore)
    for file in ("Snakefile", "_config.yml", "pyproject.toml"):
        shutil.copy(ROOT / file, root)
    (root / "notebooks").mkdir()
    (root / "notebooks" / "profiles.yaml").write_text(PROFILES)
    # Neither PyTorch nor anything else of the library is needed by the graph.
    (root / "mergelib" / "__init__.py").write_text("")
    (root / "mergelib" / "study" / "prepare.py").write_text(PREPARE)
    for page in (root / "book").glob("*.md"):
        page.unlink()
    (root / "book" / "index.md").write_text("# A copy\n")
    toc = "format: jb-book\nroot: index\nchapters:\n"
    toc += "".join(f"- file: _executed/{name}\n" for name in ("first", "second"))
    (root / "book" / "_toc.yml").write_text(toc)
    write_notebook(root, "first", FIRST)
    write_notebook(root, "second", SECOND)
    return root


def command():
    return [sys.executable, "-m", "snakemake", "-c2", "--config", "profile=pico"]


def environment():
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MERGELIB", "PYTHONPATH"))}
    # Unbuffered, as in many containers: lines of jobs that run side by side must stay whole.
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def run(root) -> tuple[int, str]:
    done = subprocess.run(
        command(), cwd=root, env=environment(), capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout + done.stderr


def steps(text: str) -> list[str]:
    """What a run did, by its own messages: stages, notebooks done, the book."""
    done = []
    for line in text.splitlines():
        parts = line.split(" · ")
        if len(parts) > 1 and (parts[0] in ("suite", "experts", "book") or "done in" in line):
            done.append(parts[0])
    return sorted(done)


ALL = sorted(["suite", "experts", "experts", "experts", "first", "second", "book"])


def test_a_first_run_makes_everything_and_a_second_one_nothing(tree):
    code, text = run(tree)
    assert code == 0, text
    assert steps(text) == ALL
    page = tree / "_build" / "html" / "_executed" / "second.html"
    assert "a copy" in page.read_text()

    code, text = run(tree)
    assert (code, steps(text)) == (0, [])


def test_touched_files_make_no_work(tree):
    for path in tree.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path)
    os.utime(tree / "cache" / "prepared" / "pico" / "suite.json")
    code, text = run(tree)
    assert (code, steps(text)) == (0, [])


def test_a_changed_notebook_runs_again_and_those_that_need_it(tree):
    write_notebook(tree, "second", SECOND, "1 + 1")
    code, text = run(tree)
    assert (code, steps(text)) == (0, ["book", "second"]), text
    write_notebook(tree, "first", FIRST, "1 + 1")
    code, text = run(tree)
    assert (code, steps(text)) == (0, ["book", "first", "second"]), text


def test_a_failing_notebook_stops_the_run_and_says_where(tree):
    write_notebook(tree, "second", SECOND, "1 / 0")
    code, text = run(tree)
    assert code != 0
    assert "second failed in code cell 5 of 5 with ZeroDivisionError" in text
    executed = tree / "results" / "pico" / "executed"
    assert not (executed / "second.ipynb").exists()
    assert (executed / "second.failed.ipynb").exists()
    write_notebook(tree, "second", SECOND)
    code, text = run(tree)
    assert (code, steps(text)) == (0, ["book", "second"]), text


def test_a_killed_run_goes_on_where_it_was(tree):
    slow = "import time\n\ntime.sleep(120)"
    write_notebook(tree, "first", FIRST, "2 + 2")
    write_notebook(tree, "second", SECOND, slow)
    killed = subprocess.Popen(
        command(),
        cwd=tree,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    for line in killed.stdout:
        if line.startswith("second · ") and "import time" in line:
            break
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    executed = tree / "results" / "pico" / "executed"
    assert (executed / "first.ipynb").exists()
    assert not (executed / "second.ipynb").exists()

    write_notebook(tree, "second", SECOND, "2 + 2")
    code, text = run(tree)
    assert (code, steps(text)) == (0, ["book", "second"]), text


def test_two_runs_in_one_folder_are_refused(tree):
    with FileLock(tree / ".snakemake" / "one_run_at_a_time"):
        code, text = run(tree)
    assert code != 0
    assert "another run works in this folder" in text


def test_a_mistake_is_named_before_anything_runs(tree):
    path = tree / "notebooks" / "profiles.yaml"
    path.write_text(PROFILES.replace("needs: [first]", "parameters: {all: {siut: desk}}"))
    start = time.time()
    code, text = run(tree)
    path.write_text(PROFILES)
    assert code != 0
    assert "unknown parameter 'siut' in second.ipynb" in text
    made = [p for p in (tree / "results").rglob("*") if p.stat().st_mtime > start]
    assert not made
