"""Where the study's files are, found from the package and never from the working directory."""

import os
from pathlib import Path

from mergelib.cache.storage import ROOT, cache_folder


def notebooks_folder() -> Path:
    """The stripped, parameterised notebooks and `profiles.yaml`."""
    return ROOT / "notebooks"


def results_folder(profile: str) -> Path:
    """`results/<profile>`: the numbers of a profile; `$MERGELIB_RESULTS` moves `results`."""
    named = os.environ.get("MERGELIB_RESULTS")
    return (Path(named).expanduser().resolve() if named else ROOT / "results") / profile


def executed_path(profile: str, notebook: str) -> Path:
    """Where the executed copy of a notebook lies."""
    return results_folder(profile) / "executed" / f"{notebook}.ipynb"


def prepared_path(profile: str, stage: str, task: str | None = None) -> Path:
    """The JSON that says that a stage before the notebooks is done, and what it made."""
    folder = cache_folder() / "prepared" / profile
    return folder / f"{stage}.json" if task is None else folder / stage / f"{task}.json"


def relative(path: Path) -> str:
    """The path as messages show it: from the root of the study where it lies there."""
    path = Path(path)
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
