"""Content keys: what a step of the study depends on, as one number, never by file dates.

A step's key is a hash of the bytes of the library modules that it (transitively) imports, the
cells of its notebook, its parameters, its data files, the versions of the numerical packages and
the keys of the steps before it. Nothing is imported to find this out: the sources are parsed.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Iterator
from pathlib import Path

from mergelib.cache.sources import closure, module_path
from mergelib.cache.storage import ROOT, key_of

NUMERICAL = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-image",
    "mlxtend",
    "pillow",
    "fonttools",
    "pandas",
    "matplotlib",
    "open_clip_torch",
)


def version(package: str) -> str:
    """The installed version of a distribution, or `absent`."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def versions() -> dict[str, str]:
    """Versions of Python (major.minor) and of the packages that numbers depend on."""
    found = {name: version(name) for name in NUMERICAL}
    return {"python": ".".join(platform.python_version_tuple()[:2]), **found}


def file_key(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises FileNotFoundError naming it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def notebook_key(path: Path) -> str:
    """A key of a notebook's cells: type, source and metadata, not outputs, counts or ids."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kept = [[c["cell_type"], "".join(c["source"]), c.get("metadata", {})] for c in cells]
    return key_of(cells=kept)


def sources(modules: Iterable[str], root: Path = ROOT) -> list[Path]:
    """The files that modules consist of: their sources and the data files beside them."""
    files = set()
    for name in modules:
        path = module_path(name, root)
        files.update([path, *_package_data(path.parent)])
    return sorted(files)


def sources_key(modules: Iterable[str], root: Path = ROOT) -> str:
    """A key of the names and bytes of everything in `sources`."""
    return key_of(sources={str(p.relative_to(root)): file_key(p) for p in sources(modules, root)})


def computation_key(modules: Iterable[str], cut: Iterable[str] = (), root: Path = ROOT) -> str:
    """A key of what a result of `modules` depends on beside its data: their sources, those of the
    modules that they use (but not of those in `cut`), and the versions of the packages."""
    return key_of(code=sources_key(closure(modules, cut, root), root), versions=versions())


def _package_data(folder: Path) -> Iterator[Path]:
    """Files other than Python's in a package's folder and in subfolders without any of Python's."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not any(path.glob("*.py")):
                yield from _package_data(path)
        elif path.suffix not in (".py", ".pyc"):
            yield path
