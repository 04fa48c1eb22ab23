"""Adaptive Weight Disentanglement: the method, its exact solver, and the descent
that others use for it."""

from mergelib.merging.awd.solve import awd, awd_objective, awd_task_arithmetic

__all__ = ["awd", "awd_objective", "awd_task_arithmetic"]
