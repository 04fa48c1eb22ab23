"""The desk suite's pixels: eight tasks from what installed packages carry and what we draw.

Every task of `SPEC` (spec.py) is a module of its own name with `ABOUT` and `build(size, seed)`,
which returns {"train" | "val" | "test": (images (N, size, size, 3) uint8, labels (N,) int64)}.
"""
