"""The book's figures: one style, one colour and marker a method, one function a kind of figure."""

from mergelib.figures.accuracy import accuracy_dots, accuracy_matrix, growth_curve, scale_curve
from mergelib.figures.images import contact_sheet
from mergelib.figures.planes import loss_plane
from mergelib.figures.style import METHOD_STYLES, method_style, use_style
from mergelib.figures.training import pretraining_curve
from mergelib.figures.vectors import cosine_matrix, depth_profile

__all__ = [
    "METHOD_STYLES",
    "accuracy_dots",
    "accuracy_matrix",
    "contact_sheet",
    "cosine_matrix",
    "depth_profile",
    "growth_curve",
    "loss_plane",
    "method_style",
    "pretraining_curve",
    "scale_curve",
    "use_style",
]
