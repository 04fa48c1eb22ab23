"""Content keys: what a step of the study depends on, as one number, never by file dates.

A step's key is a hash of the bytes of the library modules that it (transitively) imports, the
cells of its notebook, its parameters, its data files, the versions of the numerical packages and
the keys of the steps before it. Nothing is imported to find this out: the sources are parsed.
"""

import ast
import functools
import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mergelib.storage import ROOT, key_of

PACKAGE = "mergelib"
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
_FOLDER_LISTINGS = {"iter_modules", "walk_packages"}


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


def notebook_imports(path: Path, root: Path = ROOT) -> set[str]:
    """The modules of the package that a notebook's code cells name, without following them."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    plain = "\n".join(line for text in code for line in text.splitlines() if line[:1] not in "%!")
    return set(_existing(_named_modules(plain, ""), root))


def module_path(name: str, root: Path = ROOT) -> Path | None:
    """The source file of a module of the package, or None if there is no such module."""
    stem = root.joinpath(*name.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def closure(modules: Iterable[str], cut: Iterable[str] = (), root: Path = ROOT) -> set[str]:
    """The modules of the package that importing `modules` can execute, themselves included.

    Imports inside functions count, and so do string constants that are a module's full name
    (registries that import late). Modules named in `cut`, those inside them and what only they
    import are left out. Raises ModuleNotFoundError naming a root module that does not exist.
    """
    cut, found, waiting = tuple(cut), set(), []
    for name in modules:
        if module_path(name, root) is None:
            raise ModuleNotFoundError(f"no module {name} in {PACKAGE}")
        waiting.append(name)
    while waiting:
        name = waiting.pop()
        if name in found or any(name == c or name.startswith(f"{c}.") for c in cut):
            continue
        found.add(name)
        waiting.extend(_existing([name.rpartition(".")[0]], root))
        path = module_path(name, root)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        named = _named_modules(path.read_text(encoding="utf-8"), package)
        waiting.extend(_existing(named, root))
    return found


def sources(modules: Iterable[str], root: Path = ROOT) -> list[Path]:
    """The files that modules consist of: their sources and the data files in their packages."""
    files = set()
    for name in modules:
        path = module_path(name, root)
        files.add(path)
        files.update(_package_data(path.parent))
    return sorted(files)


def sources_key(modules: Iterable[str], root: Path = ROOT) -> str:
    """A key of the names and bytes of everything in `sources`."""
    return key_of(sources={str(p.relative_to(root)): file_key(p) for p in sources(modules, root)})


def _package_data(folder: Path) -> Iterator[Path]:
    """Files other than Python's in a package's folder and in subfolders without any of Python's."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not any(path.glob("*.py")):
                yield from _package_data(path)
        elif path.suffix not in (".py", ".pyc"):
            yield path


@functools.cache
def _named_modules(source: str, package: str) -> frozenset[str]:
    """Names that may be modules of the package, from a source text of a module in `package`.

    `name.*` stands for all modules directly in `name`.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
                base = ".".join([*above, *([module] if module else [])])
                found.update([base, *(f"{base}.{alias.name}" for alias in names)])
            case ast.Constant(value=str(text)) if re.fullmatch(rf"{PACKAGE}(\.\w+)*\.?", text):
                # A registry's late import; an f-string's beginning names a whole folder.
                found.add(text + "*" if text.endswith(".") else text)
            case ast.Attribute(attr=attr) if attr in _FOLDER_LISTINGS:
                found.add(f"{package}.*")
    return frozenset(name for name in found if name.partition(".")[0] == PACKAGE)


def _existing(names: Iterable[str], root: Path) -> Iterator[str]:
    for name in names:
        if name.endswith(".*"):
            folder = root.joinpath(*name.split(".")[:-1])
            yield from (f"{name[:-2]}.{path.stem}" for path in folder.glob("[!_]*.py"))
        elif module_path(name, root) is not None:
            yield name
