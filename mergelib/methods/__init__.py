"""The registry of methods: what each is, what it needs, with which numbers.

ml.methods.entries["ties"].defaults
"""

from mergelib.methods.entry import FAMILIES, NEEDS, Method, method
from mergelib.methods.registry import FILES, UnknownMethod, entries

__all__ = ["FAMILIES", "FILES", "NEEDS", "Method", "UnknownMethod", "entries", "method"]
