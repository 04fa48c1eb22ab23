"""The desk suite: eight text tasks from what installed packages carry, real text only.

Every task of `SPEC` (spec.py) is a module of its own name with `ABOUT` and `build(seed)`, which
returns the labelled texts of the three splits (mergelib.suites.texts.Texts).
"""
