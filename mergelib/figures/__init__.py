"""The book's figures: one style, one colour and marker a method, one function a kind of figure."""

from mergelib.figures.accuracy import (
    accuracy_dots,
    accuracy_matrix,
    growth_curve,
    scale_curve,
    scale_curves,
)
from mergelib.figures.adaptation import (
    coefficient_maps,
    coefficient_paths,
    coefficients_compared,
    curves_beside,
    entropy_and_loss,
    learning_curves,
    sure_and_right,
)
from mergelib.figures.awd import objective_curve, redundant_by_depth, right_angle_figure
from mergelib.figures.consistency import (
    gap_curves,
    gap_dots,
    interference_scatter,
    reversal_dots,
)
from mergelib.figures.costs import cost_frontier, share_curves
from mergelib.figures.disentanglement import disentanglement_maps
from mergelib.figures.masks import expert_masks, mask_map, relaxed_densities
from mergelib.figures.mixtures import first_choices, mixture_schematic, routing_maps
from mergelib.figures.planes import loss_plane
from mergelib.figures.sheets import contact_sheet
from mergelib.figures.style import METHOD_STYLES, method_style, use_style
from mergelib.figures.training import pretraining_curve
from mergelib.figures.vectors import cosine_matrix, depth_profile

__all__ = [
    "METHOD_STYLES",
    "accuracy_dots",
    "accuracy_matrix",
    "coefficient_maps",
    "coefficient_paths",
    "coefficients_compared",
    "contact_sheet",
    "cosine_matrix",
    "cost_frontier",
    "curves_beside",
    "depth_profile",
    "disentanglement_maps",
    "entropy_and_loss",
    "expert_masks",
    "first_choices",
    "gap_curves",
    "gap_dots",
    "growth_curve",
    "interference_scatter",
    "learning_curves",
    "loss_plane",
    "mask_map",
    "method_style",
    "mixture_schematic",
    "objective_curve",
    "pretraining_curve",
    "redundant_by_depth",
    "relaxed_densities",
    "reversal_dots",
    "right_angle_figure",
    "routing_maps",
    "scale_curve",
    "scale_curves",
    "share_curves",
    "sure_and_right",
    "use_style",
]
