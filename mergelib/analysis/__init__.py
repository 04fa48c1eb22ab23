"""Measurements that the chapters plot and quote: each a function of a workbench to a table."""

from mergelib.analysis.awd_settings import by_alpha, trajectory
from mergelib.analysis.coefficients import awd_weights, coefficient_pairs, shared_weights
from mergelib.analysis.comparison import (
    Tuned,
    fixed,
    means,
    normalised,
    over_seeds,
    percent,
    summary,
    tune,
)
from mergelib.analysis.consistency import (
    agreement,
    consistency,
    friendly_and_hostile,
    gap_by_count,
    gap_by_scale,
    interference_pairs,
)
from mergelib.analysis.cost import (
    by_cost,
    costs,
    file_bytes,
    frontier,
    latencies,
    multiply_adds,
)
from mergelib.analysis.deployment import deployment_spread, deployments
from mergelib.analysis.disentanglement import (
    disentanglement_error,
    disentanglement_map,
    error_at_one,
)
from mergelib.analysis.dissection import dissect
from mergelib.analysis.geometry import (
    by_depth,
    closest_pair,
    off_diagonal,
    redundant_share,
    seen_at_right_angles,
)
from mergelib.analysis.growth import growth, mean_by_count
from mergelib.analysis.learning import (
    Stopped,
    accuracy_at,
    best_of,
    changes,
    entropy_change,
    learning_curve,
    stopped,
)
from mergelib.analysis.literature import published, published_curves, published_kept
from mergelib.analysis.loss_plane import loss_plane, plane_minima
from mergelib.analysis.masks import (
    kept_by_magnitude,
    kept_by_tensor,
    masked_experts,
    relaxed_density,
)
from mergelib.analysis.negation import negation
from mergelib.analysis.paired import compare, difference, differences, lost_at, measured
from mergelib.analysis.places import by_block, by_kind, places, tensor_means
from mergelib.analysis.reversal import gap_parts, reversal
from mergelib.analysis.routing import named_tasks, routing, routings
from mergelib.analysis.slopes import slopes
from mergelib.analysis.task_weights import tuned_task_weights
from mergelib.analysis.transfer import (
    accuracy_by_model,
    borrowed,
    by_task,
    expert_tables,
    forgotten,
    own_task,
    restored,
    stored,
)
from mergelib.analysis.uncertainty import (
    binned,
    least_by,
    most_by,
    rank_correlations,
    uncertainty,
    uncertainty_by_scale,
)

__all__ = [
    "Stopped",
    "Tuned",
    "accuracy_at",
    "accuracy_by_model",
    "agreement",
    "awd_weights",
    "best_of",
    "binned",
    "borrowed",
    "by_alpha",
    "by_block",
    "by_cost",
    "by_depth",
    "by_kind",
    "by_task",
    "changes",
    "closest_pair",
    "coefficient_pairs",
    "compare",
    "consistency",
    "costs",
    "deployment_spread",
    "deployments",
    "difference",
    "differences",
    "disentanglement_error",
    "disentanglement_map",
    "dissect",
    "entropy_change",
    "error_at_one",
    "expert_tables",
    "file_bytes",
    "fixed",
    "forgotten",
    "friendly_and_hostile",
    "frontier",
    "gap_by_count",
    "gap_by_scale",
    "gap_parts",
    "growth",
    "interference_pairs",
    "kept_by_magnitude",
    "kept_by_tensor",
    "latencies",
    "learning_curve",
    "least_by",
    "loss_plane",
    "lost_at",
    "masked_experts",
    "mean_by_count",
    "means",
    "measured",
    "most_by",
    "multiply_adds",
    "named_tasks",
    "negation",
    "normalised",
    "off_diagonal",
    "over_seeds",
    "own_task",
    "percent",
    "places",
    "plane_minima",
    "published",
    "published_curves",
    "published_kept",
    "rank_correlations",
    "redundant_share",
    "relaxed_density",
    "restored",
    "reversal",
    "routing",
    "routings",
    "seen_at_right_angles",
    "shared_weights",
    "slopes",
    "stopped",
    "stored",
    "summary",
    "tensor_means",
    "trajectory",
    "tune",
    "tuned_task_weights",
    "uncertainty",
    "uncertainty_by_scale",
]
