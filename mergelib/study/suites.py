"""What the graph must know of the suites, read from their sources without importing anything."""

import ast
from dataclasses import dataclass
from pathlib import Path

from mergelib.cache.sources import module_path
from mergelib.cache.storage import ROOT
from mergelib.study.profiles import StudyError
from mergelib.words import unknown

REGISTRY = "mergelib.suites.registry"
SUITES = "mergelib.suites"


@dataclass(frozen=True)
class Declared:
    """A suite's name and tasks as its SPEC spells them out, and the module of the SPEC."""

    name: str
    tasks: tuple[str, ...]
    module: str

    @property
    def own(self) -> str:
        """What is the suite's own: its module, or the folder that the module lies in. A change in
        there is no concern of the other suites."""
        folder = self.module.rpartition(".")[0]
        return self.module if folder == SUITES else folder


def declared_suites(root: Path = ROOT) -> dict[str, Declared]:
    """The suites of the registry by their names, in its order.

    Raises StudyError naming a file that is missing or whose SPEC cannot be read.
    """
    found = [_declared(module, root) for module in _assigned(REGISTRY, "FILES", root)]
    return {suite.name: suite for suite in found}


def suite_of(name: str, suites: dict[str, Declared], profile: str) -> Declared:
    """The suite of a profile; StudyError with the nearest name if there is none."""
    if name not in suites:
        raise StudyError(unknown("suite", name, suites, f"profile {profile!r}"))
    return suites[name]


def _declared(module: str, root: Path) -> Declared:
    if module_path(module, root) is None:
        raise StudyError(f"{REGISTRY} names the module {module}, and there is none")
    call = _value(module, "SPEC", root)
    given = {k.arg: k.value for k in call.keywords} if isinstance(call, ast.Call) else {}
    try:
        name, tasks = (ast.literal_eval(given[field]) for field in ("name", "tasks"))
    except (KeyError, ValueError):
        raise StudyError(
            f"{module} must hold SPEC = Spec(name=..., tasks=(...), ...) with both spelled out"
        ) from None
    return Declared(name, tuple(tasks), module)


def _assigned(module: str, name: str, root: Path):
    return ast.literal_eval(_value(module, name, root))


def _value(module: str, name: str, root: Path) -> ast.expr | None:
    """The expression that a module assigns to a name at its top level, or None."""
    for node in ast.parse(module_path(module, root).read_text(encoding="utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return value
    return None
