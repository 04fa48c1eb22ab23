"""Measurements that the chapters plot and quote: each a function of a workbench to a table."""

from mergelib.analysis.comparison import Tuned, fixed, over_seeds, percent, summary, tune
from mergelib.analysis.consistency import (
    consistency,
    gap_by_count,
    gap_by_scale,
    interference_pairs,
)
from mergelib.analysis.deployment import deployment_spread, deployments
from mergelib.analysis.disentanglement import disentanglement_error, disentanglement_map
from mergelib.analysis.geometry import by_depth, closest_pair, off_diagonal
from mergelib.analysis.growth import growth
from mergelib.analysis.loss_plane import loss_plane
from mergelib.analysis.negation import negation
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
    "borrowed",
    "by_depth",
    "by_task",
    "closest_pair",
    "consistency",
    "disentanglement_error",
    "disentanglement_map",
    "deployment_spread",
    "deployments",
    "expert_tables",
    "fixed",
    "forgotten",
    "gap_by_count",
    "gap_by_scale",
    "growth",
    "interference_pairs",
    "loss_plane",
    "negation",
    "off_diagonal",
    "over_seeds",
    "own_task",
    "percent",
    "restored",
    "slopes",
    "stored",
    "summary",
    "tune",
    "tuned_task_weights",
]
