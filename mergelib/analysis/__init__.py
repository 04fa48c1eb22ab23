"""Measurements that the chapters plot and quote: each a function of a workbench to a table."""

from mergelib.analysis.awd_settings import by_alpha, trajectory
from mergelib.analysis.comparison import Tuned, fixed, over_seeds, percent, summary, tune
from mergelib.analysis.consistency import (
    agreement,
    consistency,
    friendly_and_hostile,
    gap_by_count,
    gap_by_scale,
    interference_pairs,
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
    shared_weights,
)
from mergelib.analysis.growth import growth, mean_by_count
from mergelib.analysis.loss_plane import loss_plane
from mergelib.analysis.negation import negation
from mergelib.analysis.paired import compare, difference, differences, lost_at
from mergelib.analysis.reversal import gap_parts, reversal
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

__all__ = [
    "Tuned",
    "accuracy_by_model",
    "agreement",
    "borrowed",
    "by_alpha",
    "by_depth",
    "by_task",
    "closest_pair",
    "compare",
    "consistency",
    "deployment_spread",
    "deployments",
    "difference",
    "differences",
    "disentanglement_error",
    "disentanglement_map",
    "dissect",
    "error_at_one",
    "expert_tables",
    "fixed",
    "forgotten",
    "friendly_and_hostile",
    "gap_by_count",
    "gap_by_scale",
    "gap_parts",
    "growth",
    "interference_pairs",
    "loss_plane",
    "lost_at",
    "mean_by_count",
    "negation",
    "off_diagonal",
    "over_seeds",
    "own_task",
    "percent",
    "redundant_share",
    "restored",
    "reversal",
    "seen_at_right_angles",
    "shared_weights",
    "slopes",
    "stored",
    "summary",
    "trajectory",
    "tune",
    "tuned_task_weights",
]
