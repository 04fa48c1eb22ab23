"""Models whose weights depend on the input.

A mixture that learnt its routers on unlabelled images, its accuracies, and its file:

    import mergelib as ml
    from mergelib.workbench import open_workbench

    bench = open_workbench("pico")  # the suite of the tests; "desk" is the book's
    found = ml.mixtures.wemoe(bench, bench.tv, steps=20)
    bench.evaluate(found.model), found.history
    ml.mixtures.save_mixture(found.model, "wemoe.safetensors")
"""

from mergelib.mixtures.dictionaries import DenseDictionary, SparseDictionary
from mergelib.mixtures.files import load_mixture, save_mixture
from mergelib.mixtures.layers import WeightEnsemblingLinear, WeightEnsemblingMLP
from mergelib.mixtures.learning import MixtureAdapted
from mergelib.mixtures.model import Mixture, Plan, Start, upscale
from mergelib.mixtures.router import Gate, Router
from mergelib.mixtures.twin.file import load_twin, save_twin
from mergelib.mixtures.twin.making import recompressed
from mergelib.mixtures.twin.method import TwinMerged, twin_merging
from mergelib.mixtures.twin.model import TwinModel
from mergelib.mixtures.wemoe import ewemoe, prune, wemoe

__all__ = [
    "DenseDictionary",
    "Gate",
    "Mixture",
    "MixtureAdapted",
    "Plan",
    "Router",
    "SparseDictionary",
    "Start",
    "TwinMerged",
    "TwinModel",
    "WeightEnsemblingLinear",
    "WeightEnsemblingMLP",
    "ewemoe",
    "load_mixture",
    "load_twin",
    "prune",
    "recompressed",
    "save_mixture",
    "save_twin",
    "twin_merging",
    "upscale",
    "wemoe",
]
