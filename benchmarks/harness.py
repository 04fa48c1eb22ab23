"""What the benchmarks share: clocks, turns, processes of their own, and the printing of tables."""

import argparse
import contextlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import Process
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Timed(NamedTuple):
    """What a call returned and what it took: seconds on the clock, and seconds of the processor,
    of all threads together, which other programs disturb less."""

    value: Any
    seconds: float
    cpu: float


def timed(call: Callable[[], Any]) -> Timed:
    """One call with its times."""
    clock, cpu = time.perf_counter(), time.process_time()
    value = call()
    return Timed(value, time.perf_counter() - clock, time.process_time() - cpu)


def turns(cases: Mapping[str, Callable[[], Any]], rounds: int, first: int = 0) -> dict[str, list]:
    """What each case returned in each of `rounds` rounds, name → list.

    The cases take turns, so that what else the machine does falls on all of them. `first` more
    rounds come before and do not count: they pay for what is only done once. A case that returned
    None, for want of memory, is not called again.
    """
    found: dict[str, list] = {name: [] for name in cases}
    for number in range(first + rounds):
        for name, case in cases.items():
            if any(value is None for value in found[name]):
                continue
            value = case()
            if number >= first or value is None:
                found[name].append(value)
    return found


def spread(values: Sequence[float]) -> str:
    """The median of some numbers, and their range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def peak_memory() -> int:
    """Highest resident size of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit_memory() -> None:
    """Let this process have what is free now, and no more: its failure, not the machine's."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return
    resource.setrlimit(resource.RLIMIT_DATA, (free, resource.RLIM_INFINITY))


def in_a_process(arguments: Sequence[object], python: str = sys.executable) -> dict | None:
    """The JSON that this benchmark prints with other arguments, run by another Python process.

    None if memory was not enough; any other failure ends the benchmark with what was said.
    """
    command = [python, sys.argv[0], *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode == 0:
        return json.loads(ended.stdout)
    # The system kills a process that takes the last memory; torch says that it cannot have it.
    if ended.returncode == -9 or "allocate memory" in ended.stderr:
        return None
    sys.exit(f"{' '.join(command)}:\n{ended.stderr}")


@contextlib.contextmanager
def made_files(make: Callable, *arguments, folder: Path | None = None) -> Iterator[Path]:
    """A temporary folder (in `folder`, if given) that `make(path, *arguments)` has filled.

    Made in a process of its own: the peak memory of a parent is inherited by its children.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="benchmark_") as path:
        process = Process(target=make, args=(Path(path), *arguments))
        process.start()
        process.join()
        if process.exitcode:
            sys.exit("the files could not be made")
        yield Path(path)


def parser(doc: str, cases: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """A parser with the first line of a benchmark's docstring, and `--case` for its own use."""
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    if cases is not None:
        made.add_argument("--case", choices=cases, help=argparse.SUPPRESS)
    return made


def machine() -> str:
    """What the numbers were measured with."""
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


def show(
    rows: Mapping[str, Sequence], columns: Sequence[tuple[str, str]], first: int, head: bool = True
) -> None:
    """Print a table: a line a row, its name in `first` letters, then its cells.

    `columns` are the titles and formats ("8.2f") of the cells; None is an empty cell, and a row
    may end early. `head` says whether the titles are printed.
    """
    widths = [int(re.search(r"\d+", form)[0]) for _, form in columns]
    if head:
        titles = (f"{title:>{w}}" for (title, _), w in zip(columns, widths, strict=True))
        print(" " * first + "".join(titles))
    for name, cells in rows.items():
        line = "".join(
            " " * width if cell is None else f"{cell:{form}}"
            for cell, (_, form), width in zip(cells, columns, widths, strict=False)
        )
        print(f"{name:{first}}{line}".rstrip(), flush=True)
