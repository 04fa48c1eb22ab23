"""Methods that learn on unlabelled inputs, and the one loop that they share.

found = ml.adaptation.adamerging(bench, bench.tv, by="tensor", split="val")
found.table(), found.history, found.merged
"""

from mergelib.adaptation.adamerging import AdaMerged, AdaMergingLearner, adamerging
from mergelib.adaptation.combination import Combination
from mergelib.adaptation.concrete import Concrete, concrete_adamerging, concrete_task_arithmetic
from mergelib.adaptation.loop import Adapted, Learner, adapt
from mergelib.adaptation.mask import binary_mask, deployed_mask, expected_mask, relaxed_mask
from mergelib.adaptation.mask_learners import MaskLearner, MetaLearner
from mergelib.adaptation.objective import effective_classes, entropy, mean_entropy
from mergelib.adaptation.streams import Stream, unlabelled
from mergelib.adaptation.watch import CollapseWarning, CollapseWatch
from mergelib.adaptation.weights import ImageClassifier, WeightLearner

__all__ = [
    "AdaMerged",
    "AdaMergingLearner",
    "Adapted",
    "CollapseWarning",
    "CollapseWatch",
    "Combination",
    "Concrete",
    "Learner",
    "MaskLearner",
    "MetaLearner",
    "Stream",
    "WeightLearner",
    "adamerging",
    "adapt",
    "binary_mask",
    "concrete_adamerging",
    "concrete_task_arithmetic",
    "deployed_mask",
    "effective_classes",
    "entropy",
    "expected_mask",
    "ImageClassifier",
    "mean_entropy",
    "relaxed_mask",
    "unlabelled",
]
