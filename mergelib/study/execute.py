"""Runs one notebook by papermill: checked before, visible while it runs, whole or not at all."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from mergelib.cache.storage import ROOT
from mergelib.study.paths import relative, results_folder
from mergelib.study.profiles import check_parameters
from mergelib.study.progress import say as say_line

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFailed(RuntimeError):
    """A cell raised; the message says which, with what, and where the partial notebook lies."""


class _Progress:
    """One line per cell: notebook, cell of how many, seconds so far, the cell's first line."""

    def __init__(self, name: str, say):
        self.name, self.say, self.start, self.last, self.total = name, say, time.monotonic(), 0, 0

    def seconds(self) -> float:
        return time.monotonic() - self.start

    def cell_started(self, cell, cell_index, **_):
        if cell.cell_type != "code" or not cell.source.strip():
            return
        self.last += 1
        lines = [line.strip() for line in cell.source.splitlines() if line.strip()]
        first = next((line for line in lines if not line.startswith("#")), lines[0])
        where = f"cell {self.last:>2}/{self.total}"
        self.say(f"{self.name} · {where} · {self.seconds():5.0f} s · {first[:60]}")


def offline_environment(hub: bool) -> dict[str, str]:
    """What a run's process should see: no look-ups unless the profile needs the hub, no bars."""
    quiet = {"TQDM_DISABLE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return quiet if hub else {**quiet, **offline}


@contextlib.contextmanager
def quiet_environment(hub: bool) -> Iterator[None]:
    """The variables of `offline_environment`, for the processes started inside the block."""
    changed = offline_environment(hub)
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def run_notebook(
    notebook: Path,
    out: Path,
    parameters: Mapping,
    hub: bool = False,
    say=say_line,
) -> float:
    """Execute `notebook` with `parameters` and write the executed copy to `out`; seconds taken.

    The kernel is the running interpreter's and its working folder is the study's root. The copy
    appears under its name only if every cell ran and the notebook recorded its numbers; a
    failed one is kept as `<out>.failed.ipynb`. Raises StudyError for a parameter that the
    notebook does not declare, before anything runs, and NotebookFailed for a failing cell.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebook, out = Path(notebook), Path(out).absolute()
    if not notebook.is_file():
        raise FileNotFoundError(f"no notebook {notebook}")
    check_parameters(notebook, parameters)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.stem}.{os.getpid()}.part.ipynb")
    failed = out.with_name(f"{out.stem}.failed.ipynb")
    progress = _Progress(notebook.stem, say)
    progress.total = _code_cells(notebook) + 1  # papermill adds one with the parameters
    try:
        with quiet_environment(hub):
            papermill.execute_notebook(
                str(notebook),
                str(partial),
                parameters=dict(parameters),
                kernel_name="python3",
                language="python",
                cwd=str(ROOT),
                progress_bar=False,
                on_cell_start=progress.cell_started,
            )
        _check_recorded(notebook.stem, parameters)
        _tidy(partial)
        os.replace(partial, out)
        failed.unlink(missing_ok=True)
    except PapermillExecutionError as error:
        os.replace(partial, failed)
        raise NotebookFailed(_failure(notebook.stem, error, progress, failed)) from None
    finally:
        partial.unlink(missing_ok=True)
    say(f"{notebook.stem} · done in {progress.seconds():.0f} s")
    return progress.seconds()


def _code_cells(notebook: Path) -> int:
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    return sum(c.cell_type == "code" and bool(c.source.strip()) for c in cells)


def _check_recorded(name: str, parameters: Mapping) -> None:
    path = results_folder(parameters["profile"]) / f"{name}.json"
    if not path.is_file():
        raise NotebookFailed(
            f"{name} recorded no numbers: it must call study.record({name!r}, ..., profile)"
        )


def _failure(name: str, error, progress: _Progress, failed: Path) -> str:
    trace = "\n".join(ANSI.sub("", line) for line in error.traceback)
    return (
        f"{name} failed in code cell {progress.last} of {progress.total} with {error.ename}: "
        f"{error.evalue}\n\n{trace}\n\nThe partial notebook is kept as {relative(failed)}"
    )


def _tidy(path: Path) -> None:
    """Drop dates, durations and paths that papermill notes, so that equal runs are equal files."""
    import nbformat

    book = nbformat.read(path, as_version=4)
    book.metadata["papermill"] = {"parameters": book.metadata.papermill.parameters}
    for cell in book.cells:
        for noted in ("papermill", "execution"):
            cell.metadata.pop(noted, None)
    nbformat.write(book, path)
