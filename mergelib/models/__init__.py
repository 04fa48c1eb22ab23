"""Encoders, the study's base and its heads.

Importing the package makes open_clip importable beside a CPU build of PyTorch.
"""

from mergelib.models import _torchvision  # noqa: F401
