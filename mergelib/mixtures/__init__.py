from mergelib.mixtures.layers import WeightEnsemblingLinear, WeightEnsemblingMLP

__all__ = ["WeightEnsemblingLinear", "WeightEnsemblingMLP"]
