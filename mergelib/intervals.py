"""95 % intervals of accuracies: of one proportion, and of a mean over tasks."""

import math

import pandas as pd

Z95 = 1.959963984540054


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927):

    (p̂ + z²/2n ± z √(p̂(1−p̂)/n + z²/4n²)) / (1 + z²/n), with p̂ = correct / n.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is not a proportion")
    p, z2 = correct / n, Z95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(table: pd.DataFrame) -> tuple[float, float, float]:
    """Mean accuracy over the tasks of an `evaluate` table and its 95 % interval (low, high).

    The tasks' test sets are independent samples, so the variance of the mean is the mean of
    the binomial variances over the number of tasks.
    """
    p, n = table["accuracy"].to_numpy(), table["n"].to_numpy()
    mean, half = float(p.mean()), Z95 * math.sqrt(float((p * (1 - p) / n).sum())) / len(p)
    return mean, max(0.0, mean - half), min(1.0, mean + half)
