"""Where computed things are kept, under which name, and how they are written.

A thing's name holds a key of everything that it was computed from, so that a change of any
ingredient makes a new thing and an old one is never mistaken for it.
"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """`$MERGELIB_CACHE`, or `cache/` beside the package in a checkout, or `~/.cache/mergelib`."""
    named = os.environ.get("MERGELIB_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    if (ROOT / "pyproject.toml").exists():
        return ROOT / "cache"
    return Path.home() / ".cache" / "mergelib"


def key_of(**ingredients) -> str:
    """A 16-digit key of named ingredients (anything JSON can hold, or bytes)."""
    digest = hashlib.sha256()
    for name in sorted(ingredients):
        value = ingredients[name]
        body = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        digest.update(f"{name}:{len(body)}:".encode())
        digest.update(body)
    return digest.hexdigest()[:16]


def key_of_files(paths) -> str:
    """A 16-digit key of the names and the bytes of files, whatever their order or folder."""
    digest = hashlib.sha256()
    for path in sorted(map(Path, paths), key=lambda p: p.name):
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a part of it; after an error nothing is
    left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
