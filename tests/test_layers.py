"""Dependencies point one way: a room imports rooms below it only, and no two folders each other."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from mergelib.cache.storage import ROOT

# From the ground up. Rooms of one floor do not know each other.
FLOORS = (
    ("words", "intervals", "installed", "cache"),
    ("vectors", "methods"),
    ("models",),
    ("suites",),
    ("evaluation",),
    ("merging", "training"),
    ("adaptation",),
    ("mixtures",),
    ("workbench",),
    ("analysis", "figures"),
    ("study",),
    ("__init__", "__main__"),  # the front doors of the package
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


@dataclass(frozen=True)
class Import:
    """`file`, line `line`, imports the module `module` of the package into `importer`."""

    file: str
    line: int
    importer: str
    module: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def imports(root: Path) -> Iterator[Import]:
    """All imports of the package's own modules, those inside functions too, but not those that
    only a type checker makes."""
    for path in sorted((root / "mergelib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        package = ".".join(parts[:-1])
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            for module in imported(node, package, root):
                if module.partition(".")[0] == "mergelib":
                    file = str(path.relative_to(root))
                    yield Import(file, node.lineno, ".".join(parts), module)


def executed(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a source, without what stands under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from executed(other)
            continue
        yield child
        yield from executed(child)


def imported(node: ast.AST, package: str, root: Path) -> Iterator[str]:
    """The files that an import statement names, as `mergelib.room.module` (a package's own file
    is its `__init__`)."""
    if isinstance(node, ast.Import):
        yield from (file_of(alias.name, root) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            stem = root.joinpath(*inner.split("."))
            is_module = stem.is_dir() or stem.with_suffix(".py").is_file()
            yield file_of(inner if is_module else base, root)


def file_of(module: str, root: Path) -> str:
    folder = root.joinpath(*module.split("."))
    return f"{module}.__init__" if (folder / "__init__.py").is_file() else module


def room(module: str) -> str:
    return module.split(".")[1]


def folder(module: str) -> str:
    """The folder that a module lies in; a file straight in the package stands for itself."""
    inside = module.rpartition(".")[0]
    return module if inside == "mergelib" else inside


def wrong(found: Iterator[Import]) -> list[str]:
    """What is said of every import that does not lead down, or of a room without a floor."""
    said = []
    for one in found:
        here, there = room(one.importer), room(one.module)
        if here not in FLOOR or there not in FLOOR:
            stranger = here if here not in FLOOR else there
            said.append(f"{one}: give the room {stranger!r} a floor in tests/test_layers.py")
        elif here != there and FLOOR[there] >= FLOOR[here]:
            said.append(f"{one}: {here} lies below {there}, or beside it")
    return said


def circle(found: Iterator[Import]) -> list[str]:
    """Folders, subfolders of a room too, that import each other in a circle, or nothing. A
    package's `__init__` is no part of one: it only hands on what its modules have."""
    graph = {}
    for one in found:
        here, there = folder(one.importer), folder(one.module)
        if here != there and not one.importer.endswith("__init__"):
            graph.setdefault(here, set()).add(there)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_every_import_leads_to_a_room_below():
    said = wrong(imports(ROOT))
    assert not said, "\n" + "\n".join(said)


def test_no_folders_import_each_other_in_a_circle():
    found = circle(imports(ROOT))
    assert not found, " → ".join(found)


@pytest.mark.parametrize(
    ("file", "source", "said"),
    [
        ("vectors/x", "from mergelib.merging.ties import ties", "x.py:1 imports mergelib.merging."),
        ("vectors/x", "\nfrom mergelib import study", "mergelib/vectors/x.py:2 imports mergelib.s"),
        ("figures/x", "def f():\n    import mergelib.analysis.awd", "x.py:2 imports mergelib.anal"),
        ("cache/x", "from ..words import nearest", "cache lies below words, or beside it"),
        ("models/x", "import mergelib as ml", "imports mergelib.__init__"),
        ("attic/x", "from mergelib import words", "give the room 'attic' a floor"),
        ("vectors/x", "if TYPE_CHECKING:\n    from mergelib.merging import ties", None),
        ("study/x", "from mergelib.words import nearest", None),
    ],
)
def test_an_import_upwards_is_named_with_file_and_line(tmp_path, file, source, said):
    for folder in ("merging", "study", "analysis"):
        (tmp_path / "mergelib" / folder).mkdir(parents=True)
        (tmp_path / "mergelib" / folder / "__init__.py").touch()
    for name in ("__init__", "words", file):
        path = tmp_path / "mergelib" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    path.write_text(source)
    found = wrong(imports(tmp_path))
    assert [said in line for line in found] == ([] if said is None else [True])


def test_a_circle_is_found(tmp_path):
    for one, other in ("ab", "bc", "ca"):
        path = tmp_path / "mergelib" / one / "x.py"
        path.parent.mkdir(parents=True)
        path.write_text(f"def f():\n    from mergelib.{other}.x import y\n")
    assert set(circle(imports(tmp_path))) == {f"mergelib.{m}" for m in "abc"}
