"""The numbers of a run: one small JSON per notebook and profile, read by later chapters."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from mergelib.cache.storage import atomic
from mergelib.study.paths import results_folder


def plain(value, where: str = "value"):
    """The value as Python's own int, float, str, bool, None, list or dict.

    Takes NumPy and PyTorch scalars and arrays, sequences and mappings of them. Raises TypeError
    naming the entry for anything else and ValueError for a number that is not finite, which
    JSON does not know.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "tolist"):
        return plain(value.tolist(), where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}: only finite numbers are recorded")
        return float(value)
    raise TypeError(f"{where} is a {type(value).__name__}: only numbers and text are recorded")


def write_json(path: Path, content) -> None:
    """Write JSON through a temporary name, so that no reader sees half a file."""
    with atomic(path) as temporary:
        text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def record(name: str, numbers: Mapping, profile: str) -> None:
    """Keep a notebook's numbers as `results/<profile>/<name>.json`.

    `name` is the notebook's file name without its ending. Numbers may be nested mappings and
    sequences of numbers and text. What was recorded under the name before is replaced.
    """
    path = results_folder(profile) / f"{name}.json"
    write_json(path, plain(dict(numbers), name))


def recall(name: str, profile: str) -> dict:
    """The numbers that notebook `name` recorded in this profile.

    Raises FileNotFoundError saying which notebook to run if there are none.
    """
    path = results_folder(profile) / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"no numbers of {name!r} in profile {profile!r}: run notebooks/{name}.ipynb first "
            f"(make book PROFILE={profile})"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def glue(name: str, value) -> None:
    """Store a number or text under `name`, so that the page's prose can quote it.

    NumPy and PyTorch scalars become Python's numbers: `{glue:text}` cannot format others.
    Raises TypeError for anything but a single number or text.
    """
    from myst_nb import glue as myst_glue

    value = plain(value, name)
    if isinstance(value, dict | list) or value is None:
        raise TypeError(f"{name} is not a single number or text: only those can be quoted")
    myst_glue(name, value, display=False)


def quote(**numbers) -> dict:
    """`glue` each number under its name; returns them as plain values, ready for `record`."""
    values = {name: plain(value, name) for name, value in numbers.items()}
    for name, value in values.items():
        glue(name, value)
    return values
