"""Profiles: the same notebooks at several sizes, from one YAML file beside them."""

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mergelib.study.paths import notebooks_folder
from mergelib.words import unknown

PROFILE_FIELDS = {"title", "suite", "files", "hub", "parameters", "like", "notebooks"}
NOTEBOOK_FIELDS = {"needs", "files", "parameters"}


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
    names. `whole`: it runs all notebooks, so that there is a book of it.
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
    whole: bool = True


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

    A chapter's parameters are, later ones winning: `profile` itself, `suite`, the profile's,
    the chapter's under `all`, the chapter's under the profile's name. A profile that is `like`
    another has what that has, the chapters' parameters too, unless it says otherwise. Raises
    StudyError for an unknown profile, field, notebook, or parameter.
    """
    folder = folder or notebooks_folder()
    source = yaml.safe_load((folder / "profiles.yaml").read_text(encoding="utf-8"))
    profiles, notebooks = source["profiles"], source["notebooks"]
    if name not in profiles:
        raise _refuse("profile", name, profiles, "profiles.yaml")
    fields, models = profiles[name], [name]
    _check_fields(f"profile {name}", fields, PROFILE_FIELDS)
    if "like" in fields:
        model = fields["like"]
        if model not in profiles or "like" in profiles[model]:
            raise StudyError(f"profile {name!r} is like {model!r}, which is no profile of its own")
        models = [model, name]
        parameters = [profiles[m].get("parameters") or {} for m in models]
        fields = {**profiles[model], **fields, "parameters": parameters[0] | parameters[1]}
    shared = fields.get("parameters") or {}
    wanted = fields.get("notebooks", list(notebooks))
    for stem in wanted:
        if stem not in notebooks:
            raise _refuse("notebook", stem, notebooks, "profiles.yaml")

    chapters = {}
    for stem, entry in notebooks.items():
        if stem not in wanted:
            continue
        entry = entry or {}
        _check_fields(f"notebook {stem}", entry, NOTEBOOK_FIELDS)
        path = folder / f"{stem}.ipynb"
        if not path.is_file():
            raise StudyError(f"profiles.yaml names notebook {stem!r}, but {path.name} is missing")
        needs = tuple(entry.get("needs") or ())
        for needed in needs:
            if needed not in chapters:
                raise StudyError(
                    f"notebook {stem!r} needs {needed!r}, which profile {name!r} has not run before"
                )
        own = entry.get("parameters") or {}
        _check_fields(f"parameters of {stem}", own, {"all", *profiles})
        parameters = {
            "profile": name,
            "suite": fields["suite"],
            **shared,
            **(own.get("all") or {}),
            **{k: v for m in models for k, v in (own.get(m) or {}).items()},
        }
        check_parameters(path, parameters)
        chapters[stem] = Chapter(stem, path, parameters, needs, tuple(entry.get("files") or ()))
    return Profile(
        name=name,
        title=fields["title"],
        suite=fields["suite"],
        files=tuple(fields.get("files") or ()),
        hub=bool(fields.get("hub")),
        chapters=chapters,
        **{name: shared[name] for name in ("seed", "device", "precision") if name in shared},
        whole=len(chapters) == len(notebooks),
    )
