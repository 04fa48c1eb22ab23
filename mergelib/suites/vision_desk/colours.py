"""Random pairs of colours that can be told apart."""

import numpy as np

Colour = tuple[int, int, int]
LUMA = (0.299, 0.587, 0.114)
ANY, DARK = (0, 256), (0, 150)


def contrasting_pair(
    first: tuple[int, int], second: tuple[int, int], contrast: float, rng: np.random.Generator
) -> tuple[Colour, Colour]:
    """Two colours whose channels lie in the half-open ranges, at least `contrast` apart in luma."""
    while True:
        one, other = rng.integers(*first, 3), rng.integers(*second, 3)
        if abs((one - other) @ LUMA) >= contrast:
            return tuple(one.tolist()), tuple(other.tolist())
