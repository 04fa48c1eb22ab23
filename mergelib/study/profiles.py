"""Profiles: the same notebooks at several sizes, from one YAML file beside them."""

import ast
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mergelib.study.paths import notebooks_folder
from mergelib.words import unknown

PROFILE_FIELDS = {"title", "suite", "files", "hub", "parameters"}
NOTEBOOK_FIELDS = {"needs", "files", "parameters"}
FULL = "full"
# A profile's name, with what makes it longer or another draw: desk-full, desk-seed-2, …
VARIED = re.compile(rf"(?P<model>.+?)(?P<full>-{FULL})?(?:-seed-(?P<seed>\d+))?")


class StudyError(ValueError):
    """A request that cannot be met, said in one sentence; the command line exits with 2."""


def _refuse(kind: str, name: str, known: Iterable[str], where: str) -> StudyError:
    return StudyError(unknown(kind, name, sorted(known), where))


@dataclass(frozen=True)
class Chapter:
    """One notebook as a profile runs it."""

    name: str
    path: Path
    parameters: dict
    needs: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """One size of the study: its suite and the parameters of its chapters.

    `seed`, `device`, `precision`: those of its heads and experts, the profile's parameters of these
    names. `live`: it is what a reader runs, and there is a book of it; others make numbers only.
    """

    name: str
    title: str
    suite: str
    files: tuple[str, ...]
    hub: bool
    chapters: dict[str, Chapter]
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    live: bool = True


def declared_parameters(notebook: Path) -> dict:
    """Names and defaults that the cell tagged `parameters` assigns.

    Defaults that are not literals map to Ellipsis. Raises StudyError if there is no such cell.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", [])]
    if not tagged:
        raise StudyError(f"{notebook.name} has no cell tagged 'parameters'")
    found = {}
    for statement in ast.parse("".join(tagged[0]["source"])).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case _:
                continue
        try:
            found[name] = ast.literal_eval(value)
        except ValueError:
            found[name] = ...
    return found


def check_parameters(notebook: Path, parameters: Mapping) -> None:
    """Raise StudyError naming the first parameter that the notebook does not declare."""
    declared = declared_parameters(notebook)
    for name in parameters:
        if name not in declared:
            raise _refuse("parameter", name, declared, notebook.name)


def _check_fields(where: str, fields: Mapping, known: set[str]) -> None:
    for field in fields:
        if field not in known:
            raise _refuse("field", field, known, f"profiles.yaml, {where}")


def load_profile(name: str, folder: Path | None = None) -> Profile:
    """The profile `name` of `folder`/profiles.yaml, every chapter's parameters merged and checked.

    `name` is one of the file's, or one with `-full` (full length), `-seed-1` (another seed) or both
    behind it. A chapter's parameters are, later ones winning: `profile` itself, `suite`, the
    profile's, at full length those under `full` of all chapters; then the chapter's under `all`,
    under the profile's name, and at full length under `full` and the profile's name with `-full`
    behind it. Raises StudyError for an unknown profile, field, notebook, or parameter.
    """
    folder = folder or notebooks_folder()
    source = yaml.safe_load((folder / "profiles.yaml").read_text(encoding="utf-8"))
    profiles, notebooks = source["profiles"], source["notebooks"]
    model, full, seed = _variation(name, profiles)
    fields = profiles[model]
    _check_fields(f"profile {model}", fields, PROFILE_FIELDS)
    shared = dict(fields.get("parameters") or {})
    if full:
        shared |= source.get(FULL) or {}
    if seed is not None:
        shared["seed"] = seed
    lengths = {FULL, *(f"{p}-{FULL}" for p in profiles)}

    chapters = {}
    for stem, entry in notebooks.items():
        entry = entry or {}
        _check_fields(f"notebook {stem}", entry, NOTEBOOK_FIELDS)
        path = folder / f"{stem}.ipynb"
        if not path.is_file():
            raise StudyError(f"profiles.yaml names notebook {stem!r}, but {path.name} is missing")
        needs = tuple(entry.get("needs") or ())
        for needed in needs:
            if needed not in chapters:
                raise StudyError(f"notebook {stem!r} needs {needed!r}, which is not run before it")
        own = entry.get("parameters") or {}
        _check_fields(f"parameters of {stem}", own, {"all", *profiles, *lengths})
        chosen = ["all", model, *([FULL, f"{model}-{FULL}"] if full else [])]
        parameters = {"profile": name, "suite": fields["suite"], **shared}
        for key in chosen:
            parameters |= own.get(key) or {}
        check_parameters(path, parameters)
        chapters[stem] = Chapter(stem, path, parameters, needs, tuple(entry.get("files") or ()))
    return Profile(
        name=name,
        title=fields["title"] + (", full length" if full else ""),
        suite=fields["suite"],
        files=tuple(fields.get("files") or ()),
        hub=bool(fields.get("hub")),
        chapters=chapters,
        **{name: shared[name] for name in ("seed", "device", "precision") if name in shared},
        live=name in profiles,
    )


def _variation(name: str, profiles: Iterable[str]) -> tuple[str, bool, int | None]:
    """(profile of the file, full length?, seed) that a name stands for."""
    if name in profiles:
        return name, False, None
    found = VARIED.fullmatch(name)
    model, full, seed = found["model"], found["full"], found["seed"]
    if model not in profiles:
        raise _refuse("profile", model, profiles, "profiles.yaml")
    return model, bool(full), None if seed is None else int(seed)
