"""Every example runs as it is written: Python and commands, in the pages and in the docstrings."""

import ast
import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors.torch import save_file
from toys import NAMES, states

from mergelib.cache.storage import ROOT
from mergelib.study.profiles import load_profile

PAGES = [ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "book").glob("*.md"))]
MODULES = sorted((ROOT / "mergelib").rglob("*.py"))
PROGRAMS = r"(?:[A-Z_]+=\S+ )*(?:make|python|snakemake|\.venv/bin/\w+)\b"


class Example(NamedTuple):
    file: str
    line: int
    text: str

    def __str__(self):
        return f"{self.file}:{self.line}"


def run(*command: str, at: Path | None = None) -> str:
    """The output of a command that must succeed, run in this folder or another one."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        command, cwd=at, env={**kept, **paths}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


# Finding them


def fenced(text: str, language: str) -> list[tuple[int, str]]:
    """(line, text) of the blocks of a language in a Markdown text."""
    blocks = re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    return [(text.count("\n", 0, m.start()) + 2, m[1].strip("\n")) for m in blocks]


def spans(text: str) -> list[tuple[int, str]]:
    """(line, text) of the commands quoted within the sentences of a Markdown text."""
    text = re.sub(r"^```.*?^```", lambda m: re.sub(r"[^\n]", "", m[0]), text, flags=re.M | re.S)
    quoted = re.finditer(rf"`({PROGRAMS}[^`]*)`", text)
    return [(text.count("\n", 0, m.start()) + 1, m[1].replace("\n", " ")) for m in quoted]


def indented(source: str) -> list[tuple[int, str]]:
    """(line of the docstring, text) of the blocks set off by indentation in docstrings."""
    blocks = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        block = []
        for line in [*(ast.get_docstring(node) or "").splitlines(), "end"]:
            if line.startswith("    ") or (block and not line):
                block.append(line)
            elif block:
                where = 1 if isinstance(node, ast.Module) else node.lineno
                blocks.append((where, textwrap.dedent("\n".join(block)).strip()))
                block = []
    return blocks


def is_python(block: str) -> bool:
    """An example, and no formula, command or list."""
    return bool(re.search(r"^(?:import \w|from [\w.]+ import )|\bml\.", block, re.M))


def is_command(block: str) -> bool:
    return bool(re.match(PROGRAMS, block))


def collect() -> tuple[list[Example], list[Example]]:
    python, commands = [], []
    for path in PAGES:
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        python += [Example(name, *found) for found in fenced(text, "python")]
        for line, block in fenced(text, "bash"):
            lines = block.replace("\\\n", "").splitlines()
            commands += [Example(name, line, x) for x in lines if shlex.split(x, comments=True)]
        commands += [Example(name, *found) for found in spans(text)]
    for path in MODULES:
        found = indented(path.read_text(encoding="utf-8"))
        name = str(path.relative_to(ROOT))
        python += [Example(name, line, block) for line, block in found if is_python(block)]
        commands += [Example(name, line, block) for line, block in found if is_command(block)]
    return python, commands


PYTHON, COMMANDS = collect()


def test_examples_are_found_where_they_are_known_to_be():
    assert {e.file for e in PYTHON} >= {
        "README.md",
        "data/README.md",
        "book/rerun.md",
        "mergelib/__init__.py",
        "mergelib/adaptation/__init__.py",
        "mergelib/mixtures/__init__.py",
    }
    assert {e.file for e in COMMANDS} >= {
        "README.md",
        "data/README.md",
        "book/rerun.md",
        "mergelib/training/pretrain.py",
    }


def test_examples_are_found_by_their_form():
    page = "a `make x` b\n\n```python\nf(1)\n```\n```bash\nmake y\n```\n\n```\n`make z`\n```\n"
    assert fenced(page, "python") == [(4, "f(1)")]
    assert fenced(page, "bash") == [(7, "make y")]
    assert spans(page) == [(1, "make x")]
    words = "T.\n\n        import x\n\n        x.y\n\n    e = mc² and\n\n        m = 0\n    "
    module = f'def f():\n    """{words}"""'
    assert indented(module) == [(1, "import x\n\nx.y"), (1, "m = 0")]
    assert [is_python(block) for _, block in indented(module)] == [True, False]


# Python

# The names that the texts presuppose, beside files and folders, and how each is made.
PRESUPPOSED = {
    "ml": "import mergelib as ml",
    "model": "from toys import vit; model = vit()",
    "rows": "rows = [[1, 2], [3, 4]]",
    "others": "others = [[5, 6]]",
    "f": "def f(model, task, batch): return model(batch)",
    "collate": "collate = list",
}


def free_names(code: str) -> set[str]:
    """The names that a text uses and neither assigns nor imports."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    bound = {n.id for n in names if isinstance(n.ctx, ast.Store)}
    bound |= {n.asname or n.name for n in nodes if isinstance(n, ast.alias)}
    return {n.id for n in names} - bound


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The root of a checkout as the examples see it, with checkpoints of the reader's own."""
    folder = tmp_path_factory.mktemp("examples")
    for name in ("data", "mergelib"):
        (folder / name).symlink_to(ROOT / name)
    base, experts = states()
    save_file(base, folder / "base.safetensors")
    for name, task in zip(("svhn", "mnist"), NAMES, strict=False):
        save_file(experts[task], folder / f"{name}.safetensors")
    return folder


def imported(code: str) -> set[str]:
    """The packages that a text imports."""
    nodes = list(ast.walk(ast.parse(code)))
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


@pytest.fixture
def at_root(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MERGELIB_CACHE", str(folder / "cache"))


@pytest.mark.slow
@pytest.mark.parametrize("example", PYTHON, ids=str)
def test_a_python_example_runs(example, at_root):
    before = "".join(f"{PRESUPPOSED[n]}\n" for n in PRESUPPOSED.keys() & free_names(example.text))
    if imported(example.text) <= {"mergelib"}:
        names = {}
        exec(before, names)
        exec(compile(example.text, str(example), "exec"), names)
    else:
        # In a process of its own: here the library may have prepared what it imports.
        run(sys.executable, "-P", "-c", before + example.text)


# Commands: that what they name exists and that their options are understood.


def explained(program: str, *arguments: str) -> str:
    """What a module or script of the project prints for --help, asked within this process."""
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
        warnings.catch_warnings(action="ignore", category=RuntimeWarning),
        pytest.raises(SystemExit) as end,
    ):
        patch.setattr(sys, "argv", [program, *arguments, "--help"])
        if program.endswith(".py"):
            runpy.run_path(str(ROOT / program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    assert not end.value.code, printed.getvalue()
    return printed.getvalue()


def source(program: str) -> Path:
    """The file of a module or script of the project."""
    if program.endswith(".py"):
        return ROOT / program
    stem = ROOT.joinpath(*program.split("."))
    return stem / "__main__.py" if stem.is_dir() else stem.with_suffix(".py")


def check(command: str) -> None:
    words = shlex.split(command.replace("[", " ").replace("]", " "), comments=True)
    while re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    for word in words:
        if re.match(r"(?:notebooks|data|book|benchmarks|mergelib)/", word):
            assert any(ROOT.glob(word)), f"{word} does not exist"
    match words:
        case ["make", *rest]:
            run("make", "-n", *rest, at=ROOT)
            for word in rest:
                if word.startswith("PROFILE="):
                    load_profile(word.removeprefix("PROFILE="))
        case ["python" | ".venv/bin/python", "-m", "snakemake", *rest]:
            run(sys.executable, "-m", "snakemake", *rest, "--dry-run", at=ROOT)
        case ["python" | ".venv/bin/python", "-m", "pytest", *rest]:
            check_options("pytest", rest, run(sys.executable, "-m", "pytest", "--help", at=ROOT))
        case ["python" | ".venv/bin/python", "-m", program, *rest]:
            check_program(program, rest)
        case ["python" | ".venv/bin/python", program, *rest]:
            check_program(program, rest)
        case [program, *_] if program.startswith(".venv/bin/"):
            assert Path(sys.executable).with_name(Path(program).name).exists()
        case _:
            pytest.fail(f"nothing here knows how to check {command!r}")


def check_program(program: str, rest: list[str]) -> None:
    file = source(program)
    assert file.exists(), f"{program} does not exist"
    if "argparse" in file.read_text(encoding="utf-8"):
        commands = [rest[0]] if rest and re.fullmatch(r"[a-z]+", rest[0]) else []
        check_options(program, rest, explained(program, *commands))


def check_options(program: str, rest: list[str], understood: str) -> None:
    for word in rest:
        if word.startswith("-"):
            option = re.escape(word.partition("=")[0])
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", understood), f"{program}: no {word}"


@pytest.mark.parametrize("command", dict.fromkeys(e.text for e in COMMANDS))
def test_a_command_is_understood(command):
    check(command)


@pytest.mark.parametrize(
    "command, message",
    [
        ("make bok", "bok"),
        ("make book PROFILE=dekc", "dekc"),
        ("python -m mergelib.studdy run", "mergelib.studdy does not exist"),
        (
            "python -m mergelib.study rum notebooks/02_task_arithmetic.ipynb",
            "invalid choice: 'rum'",
        ),
        ("python -m mergelib.study run notebooks/99.ipynb", "notebooks/99.ipynb does not exist"),
        ("python -m mergelib.study run --profil pico", "no --profil"),
        ("python benchmarks/merging.py", "does not exist"),
        (".venv/bin/pyton", "exists"),
        ("snakemake", "nothing here knows"),
    ],
)
def test_a_command_with_a_mistake_is_seen(command, message):
    with pytest.raises((AssertionError, pytest.fail.Exception, ValueError), match=message):
        check(command)


def test_continuous_integration_is_the_two_commands_of_the_readme():
    first = fenced((ROOT / "README.md").read_text(encoding="utf-8"), "bash")[0][1]
    readme = {shlex.join(shlex.split(line, comments=True)) for line in first.splitlines()}
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    done = [x for x in lines if x and not x.startswith(("#", "set ", "cd "))]
    assert set(done) == readme
