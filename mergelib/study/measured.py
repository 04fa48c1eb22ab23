"""Keeps the numbers of a run in `data/measured/`, with what is needed to trace them."""

import datetime
import os
import platform
from pathlib import Path

from mergelib.cache.keys import NUMERICAL, version
from mergelib.cache.storage import ROOT
from mergelib.study.profiles import FULL, Profile, StudyError
from mergelib.study.results import recall, write_json


def keep(profile: Profile, folder: Path = ROOT / "data" / "measured") -> Path:
    """Write `<folder>/<profile>.json`: the numbers of all chapters and their provenance.

    Raises StudyError naming the first chapter that has not run in this profile.
    """
    numbers = {}
    for name in profile.chapters:
        try:
            numbers[name] = recall(name, profile.name)
        except FileNotFoundError as error:
            raise StudyError(str(error)) from None
    path = folder / f"{profile.name}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"provenance": provenance(profile), "numbers": numbers})
    return path


def provenance(profile: Profile) -> dict:
    """Profile, suite, parameters of every chapter, versions, machine, date and the command.

    `number_format` is what the profile's precision means on this machine.
    """
    from mergelib.models.compute import number_format, resolve_device

    return {
        "profile": profile.name,
        "suite": profile.suite,
        "command": _command(profile.name),
        "parameters": {name: c.parameters for name, c in profile.chapters.items()},
        "number_format": number_format(resolve_device(profile.device), profile.precision),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in NUMERICAL},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def _command(name: str) -> str:
    """What makes the numbers of a profile again."""
    model, full, seed = name.partition(f"-{FULL}-seed-")
    return f"make measure PROFILE={model} SEEDS={seed}" if full else f"make book PROFILE={name}"
