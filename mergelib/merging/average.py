"""Weight averaging."""

from torch import Tensor

from mergelib.merging.task_arithmetic import task_arithmetic
from mergelib.methods.entry import method
from mergelib.vectors.task_vectors import TaskVectors


@method(title="Weight averaging", family="static", paper="wortsman2022soups")
def average(tv: TaskVectors) -> Tensor:
    """θ = (1/K) Σ_k θ_k, the mean of the experts' weights, (P,).

    Wortsman et al. 2022, "Model soups", section 2 (uniform soup). The same as task arithmetic
    with λ = 1/K.
    """
    return task_arithmetic(tv, scale=1 / len(tv))
