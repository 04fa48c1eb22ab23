"""Methods that learn on unlabelled inputs, and the one loop that they share.

What a method learnt, how it went, and the weights that it ends with:

    import mergelib as ml
    from mergelib.workbench import open_workbench

    bench = open_workbench("pico")  # the suite of the tests; "desk" is the book's
    found = ml.adaptation.adamerging(bench, bench.tv, by="tensor", split="val", steps=20)
    found.table(), found.history, found.merged
"""

from mergelib.adaptation.adamerging import AdaMerged, AdaMergingLearner, adamerging
from mergelib.adaptation.bench import Bench, Classifier, SuiteBench
from mergelib.adaptation.combination import Combination
from mergelib.adaptation.concrete import (
    Concrete,
    Masking,
    Stages,
    concrete_adamerging,
    concrete_task_arithmetic,
)
from mergelib.adaptation.learning import Learning, Watching
from mergelib.adaptation.loop import Adapted, Learner, adapt
from mergelib.adaptation.mask import binary_mask, deployed_mask, expected_mask, relaxed_mask
from mergelib.adaptation.mask_learners import MaskLearner, MetaLearner
from mergelib.adaptation.objective import effective_classes, entropy, mean_entropy
from mergelib.adaptation.streams import Stream, unlabelled
from mergelib.adaptation.watch import CollapseWarning, CollapseWatch
from mergelib.adaptation.weights import WeightLearner

__all__ = [
    "AdaMerged",
    "AdaMergingLearner",
    "Adapted",
    "Bench",
    "Classifier",
    "CollapseWarning",
    "CollapseWatch",
    "Combination",
    "Concrete",
    "Learner",
    "Learning",
    "Masking",
    "MaskLearner",
    "MetaLearner",
    "Stages",
    "Stream",
    "SuiteBench",
    "Watching",
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
    "mean_entropy",
    "relaxed_mask",
    "unlabelled",
]
