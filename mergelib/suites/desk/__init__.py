"""The desk suite's pixels: eight tasks from what installed packages carry and what we draw.

Every generator is a module with `ABOUT` and `build(size, seed)`, which returns
{"train" | "val" | "test": (images (N, size, size, 3) uint8, labels (N,) int64)}.
"""

from types import ModuleType

from mergelib.suites.desk import (
    clocks,
    digits,
    dominoes,
    flags,
    mnist,
    numbers,
    scripts,
    signs,
)
from mergelib.suites.desk.about import About

SIZE = 48
GENERATORS: dict[str, ModuleType] = {
    module.ABOUT.name: module
    for module in (digits, mnist, numbers, signs, scripts, flags, clocks, dominoes)
}

__all__ = ["GENERATORS", "SIZE", "About"]
