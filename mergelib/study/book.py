"""The book: executed notebooks laid beside the prose, checked, and built strictly by Sphinx."""

import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from mergelib.cache.storage import ROOT
from mergelib.study.execute import quiet_environment
from mergelib.study.paths import executed_path, relative
from mergelib.study.profiles import Profile
from mergelib.study.progress import say


class BookFailed(RuntimeError):
    """The book could not be built; the message says why."""


def error_outputs(notebook: Path) -> list[str]:
    """`cell 3: NameError: ...` for every code cell of an executed notebook that holds an error."""
    import nbformat

    cells = [c for c in nbformat.read(notebook, as_version=4).cells if c.cell_type == "code"]
    return [
        f"cell {i}: {output.ename}: {output.evalue}"
        for i, cell in enumerate(cells, start=1)
        for output in cell.outputs
        if output.output_type == "error"
    ]


def provenance(profile: Profile) -> str:
    """One sentence that says what made the numbers of a page, and in which number format."""
    torch = importlib.metadata.version("torch").partition("+")[0]
    return (
        f"Numbers and figures: profile `{profile.name}` ({profile.title}), PyTorch {torch}, "
        f"encoders computed in {number_format_of(profile)}."
    )


def number_format_of(profile: Profile) -> str:
    """The number format that a profile has on this machine, and why where that differs."""
    from mergelib.models.compute import number_format, resolve_device

    found = number_format(resolve_device(profile.device), profile.precision)
    if profile.precision != "auto":
        return found
    where = "where the processor has it in hardware"
    return f"{found} ({'' if found == 'bfloat16' else 'bfloat16 '}{where})"


def stage(profile: Profile, executed: dict[str, Path], folder: Path) -> None:
    """Lay the executed notebooks into `folder`/_executed, each page saying which profile made it.

    Sphinx would publish a notebook whose run failed without a word, so raise BookFailed naming
    the notebook and cell if one holds an error output, or if one is missing.
    """
    import nbformat

    target = folder / "_executed"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in executed.values():
        if not path.is_file():
            raise BookFailed(f"{relative(path)} is missing: run the notebook first")
        errors = error_outputs(path)
        if errors:
            raise BookFailed(f"{relative(path)} holds an error, {errors[0]}")
        page = nbformat.read(path, as_version=4)
        for cell in page.cells:
            _present_parameters(cell)
        note = nbformat.v4.new_markdown_cell(
            f":::{{div}} made-with\n{provenance(profile)}\n:::", id="made-with"
        )
        page.cells.insert(1, note)
        nbformat.write(page, target / path.name)
    for path in sorted((folder / "pages").glob("*.ipynb")):
        execute_page(path, target / path.name)
    (target / "made_with.txt").write_text(provenance(profile) + "\n", encoding="utf-8")


def execute_page(page: Path, out: Path) -> None:
    """Run a notebook that belongs to the book itself and write it with its outputs to `out`.

    It has no parameters and records no numbers. Raises BookFailed naming it if a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = nbformat.read(page, as_version=4)
    say(f"{page.stem} · executed for the book")
    try:
        with quiet_environment(hub=False):
            NotebookClient(
                notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": ROOT}}
            ).execute()
    except CellExecutionError as error:
        raise BookFailed(f"{relative(page)} failed: {error.ename}: {error.evalue}") from None
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from run to run
    nbformat.write(notebook, out)


def _present_parameters(cell) -> None:
    """The values of the run stay, folded under a name; the defaults they replace are left out."""
    tags = cell.metadata.get("tags", [])
    if "injected-parameters" in tags:
        cell.metadata["tags"] = [*tags, "hide-input"]
        prompt = "Parameters of this run"
        cell.metadata["mystnb"] = {"code_prompt_show": prompt, "code_prompt_hide": prompt}
    elif "parameters" in tags:
        cell.metadata["tags"] = [*tags, "remove-cell"]


def build(folder: Path, config: Path, out: Path) -> Path:
    """Build the prose and notebooks of `folder` into `out`/html; returns its index page.

    Every warning is an error. The pages appear under `out`/html only if all of it succeeded;
    what stood there before stays otherwise. Raises BookFailed.
    """
    fresh = out / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    # By this interpreter, whatever is on PATH.
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    options = ["--config", str(config), "--path-output", str(fresh), "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, str(folder), *options], cwd=config.parent, capture_output=True, text=True
    )
    index = fresh / "_build" / "html" / "index.html"
    if done.returncode != 0 or not index.is_file():
        raise BookFailed(f"the book was not built:\n{done.stdout}{done.stderr}")
    shutil.rmtree(out / "html", ignore_errors=True)
    (fresh / "_build" / "html").replace(out / "html")
    shutil.rmtree(fresh)
    return out / "html" / "index.html"


def build_book(profile: Profile) -> Path:
    """Stage and build the book of a profile into `_build/html`."""
    executed = {name: executed_path(profile.name, name) for name in profile.chapters}
    stage(profile, executed, ROOT / "book")
    return build(ROOT / "book", ROOT / "_config.yml", ROOT / "_build")
