"""Passes over long vectors in pieces that fit the cache, on all cores.

A pass reads K×P numbers once. Splitting the columns into pieces keeps every temporary small,
and one worker per core with single-threaded operations has no barriers to wait at, which
matters where other programs run on the same cores. The pieces depend on nothing but the
length, and results come back in their order, so a pass gives the same bits on any number of
cores.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")

CPU_WIDTH = 1 << 14  # 8 rows of float64 are 1 MiB: a core's share of the cache
GPU_WIDTH = 1 << 24
_WORTH_THREADS = 4  # pieces; starting workers costs about as much as one or two

_thread_setting = threading.Lock()


def width(device: torch.device, cpu_width: int = CPU_WIDTH) -> int:
    """How many columns a piece on the device may have."""
    return cpu_width if device.type == "cpu" else GPU_WIDTH


def columns(
    size: int, device: torch.device, start: int = 0, cpu_width: int = CPU_WIDTH
) -> list[slice]:
    """Slices that cover start … start + size − 1 in order, each as wide as the device likes."""
    step, stop = width(device, cpu_width), start + size
    return [slice(i, min(i + step, stop)) for i in range(start, stop, step)]


def run(
    work: Callable[[Sequence[Piece]], Iterable[Result]],
    pieces: Sequence[Piece],
    device: torch.device,
    small: bool = False,
) -> list[Result]:
    """`list(work(pieces))`, the pieces spread over torch's number of threads on the CPU.

    `work` is a generator function over some consecutive pieces. It should make its large
    temporaries once and reuse them for every piece: memory that is given back and asked for again
    costs more than the arithmetic. It must not call `run`, and no two pieces may be written to
    the same place. Too few pieces to spread have all threads in each operation, or one if the
    operations are so `small` that several would mostly wait for each other.
    """
    if device.type != "cpu" or len(pieces) < _WORTH_THREADS or torch.get_num_threads() == 1:
        with single_threaded_operations() if small else nullcontext():
            return list(work(pieces))
    with single_threaded_operations() as threads:
        size = -(-len(pieces) // (4 * threads))
        batches = [pieces[i : i + size] for i in range(0, len(pieces), size)]
        with ThreadPoolExecutor(threads) as pool:
            results = pool.map(lambda batch: list(work(batch)), batches)
            return [result for batch in results for result in batch]


@contextmanager
def single_threaded_operations() -> Iterator[int]:
    """Give every torch operation one thread inside the block; yields the number there was."""
    with _thread_setting:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield threads
        finally:
            torch.set_num_threads(threads)
