"""Which modules of the package a source text uses, found by parsing and without importing.

What counts is use, not execution: `from mergelib import figures` followed by
`figures.scale_curve(...)` uses the module that defines `scale_curve`, and not the others that the
package `mergelib.figures` re-exports. Where this cannot be seen, the whole package counts.
"""

import ast
import functools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from mergelib.cache.storage import ROOT

PACKAGE = "mergelib"
Reference = tuple[str, ...]  # a module, then the names taken from it one after the other


def module_path(name: str, root: Path = ROOT) -> Path | None:
    """The source file of a module of the package, or None if there is no such module."""
    stem = root.joinpath(*name.split("."))
    for path in (stem / "__init__.py", stem.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def used_by_notebook(path: Path, root: Path = ROOT) -> set[str]:
    """The modules of the package that a notebook's code cells use, without following them."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    lines = (line for text in code for line in text.splitlines() if line[:1] not in ("%", "!"))
    return _modules(_references("\n".join(lines), ""), root)


def closure(modules: Iterable[str], cut: Iterable[str] = (), root: Path = ROOT) -> set[str]:
    """The modules of the package that `modules` use, directly or through others, with themselves.

    Imports inside functions count, and so do string constants that are a module's full name
    (registries that import late). Modules named in `cut`, those inside them and what only they
    use are left out. Raises ModuleNotFoundError naming a root module that does not exist.
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
        waiting.extend(_modules(_module_references(name, root), root))
    return found


def _module_references(name: str, root: Path) -> frozenset[Reference]:
    path = module_path(name, root)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return _references(path.read_text(encoding="utf-8"), package)


@functools.cache
def _references(source: str, package: str) -> frozenset[Reference]:
    """What a source text of a module in `package` takes from the package mergelib.

    The reference (m, "*") stands for all modules directly in m.
    """
    tree = ast.parse(source)
    found, bound = set(), {}
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.asname:
                        bound[alias.asname] = (alias.name,)
                    else:
                        found.add((alias.name,))
            case ast.ImportFrom(names=names):
                base = _absolute(node, package)
                if names[0].name == "*":
                    found.add((base,))
                else:
                    bound.update({(a.asname or a.name): (base, a.name) for a in names})
            case ast.Constant(value=str(text)) if re.fullmatch(rf"{PACKAGE}\.[\w.]*", text):
                # A registry's late import; the beginning of an f-string names a whole folder.
                found.add((text[:-1], "*") if text.endswith(".") else (text,))
    found.update(_uses(tree, bound))
    return frozenset(r for r in found if r[0].partition(".")[0] == PACKAGE)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """The full name of the module that `from ... import` names."""
    if not node.level:
        return node.module
    parts = package.split(".")
    above = parts[: len(parts) - node.level + 1]
    return ".".join([*above, *([node.module] if node.module else [])])


def _uses(tree: ast.AST, bound: dict[str, Reference]) -> Iterator[Reference]:
    """How the imported names are used: `a.b.c` as far as it goes; unused ones as a whole."""
    inner, used = set(), set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name) or id(node) in inner:
            continue
        names, value = [], node
        while isinstance(value, ast.Attribute):
            names.insert(0, value.attr)
            value = value.value
            inner.add(id(value))
        if isinstance(value, ast.Name) and value.id in bound:
            used.add(value.id)
            yield (*bound[value.id], *names)
    yield from (reference for name, reference in bound.items() if name not in used)


def _modules(references: Iterable[Reference], root: Path) -> set[str]:
    return {m for reference in references for m in _resolve(reference, root)}


def _resolve(reference: Reference, root: Path) -> Iterator[str]:
    """The modules that a reference uses: the one that defines its last name, or a whole one."""
    module, names = reference[0], list(reference[1:])
    while names:
        name = names.pop(0)
        if name == "*":
            folder = root.joinpath(*module.split("."))
            yield from (f"{module}.{path.stem}" for path in folder.glob("[!_]*.py"))
            return
        if module_path(f"{module}.{name}", root) is not None or not module_path(module, root):
            module = f"{module}.{name}"
        elif (origin := _reexported(module, name, root)) is not None:
            yield from _resolve((*origin, *names), root)
            return
        else:
            break
    if module_path(module, root) is not None:
        yield module


def _reexported(module: str, name: str, root: Path) -> Reference | None:
    """Where a package's `__init__.py` takes a name from that it hands on, or None."""
    path = module_path(module, root)
    if path.name != "__init__.py":
        return None
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    origin = _absolute(node, module)
                    return (origin, alias.name) if origin.startswith(PACKAGE) else None
    return None
