"""Static methods: the base and the task vectors in, one vector of merged weights out."""

from mergelib.merging.average import average
from mergelib.merging.awd import awd, awd_objective, awd_task_arithmetic
from mergelib.merging.consistent import consistent, consistent_task_arithmetic
from mergelib.merging.dare import dare, dare_drop
from mergelib.merging.task_arithmetic import task_arithmetic
from mergelib.merging.ties import elect_sign, ties, ties_split, ties_trim

__all__ = [
    "average",
    "awd",
    "awd_objective",
    "awd_task_arithmetic",
    "consistent",
    "consistent_task_arithmetic",
    "dare",
    "dare_drop",
    "elect_sign",
    "task_arithmetic",
    "ties",
    "ties_split",
    "ties_trim",
]
