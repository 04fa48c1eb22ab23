"""E-WEMoE: WEMoE with one router for all blocks and task vectors of few numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mergelib.adaptation.adamerging import Bench
from mergelib.magnitudes import smallest_kept_magnitude
from mergelib.mixtures.learning import MixtureAdapted, learn_routers, rest_weights
from mergelib.mixtures.model import Start
from mergelib.registration import method
from mergelib.task_vectors import TaskVectors


def prune(tv: TaskVectors, keep: float) -> TaskVectors:
    """The task vectors with all but the largest |τ| of every tensor and task set to zero.

    Shen et al. 2024, "Efficient and Effective Weight-Ensembling Mixture of Experts", section 3.3.
    Of a tensor of n numbers the round(keep · n) largest remain (ties at the last place, too),
    as they are, not rescaled: "E-WEMoE-90" is keep=0.1. The published code keeps what is
    strictly above a quantile, one number less at keep=1. Raises ValueError unless 0 ≤ keep ≤ 1.
    """
    if not 0 <= keep <= 1:
        raise ValueError(f"keep must be between 0 and 1, not {keep}")
    pruned = torch.zeros_like(tv.deltas)
    for segment in tv.layout.segments("tensor"):
        (place,) = segment.slices
        count = round(keep * (place.stop - place.start))
        if not count:
            continue
        for row, out in zip(tv.deltas[:, place], pruned[:, place], strict=True):
            kept = row.abs() >= smallest_kept_magnitude(row, count)
            out.copy_(row * kept)
    return tv.with_deltas(pruned)


@method(title="E-WEMoE", family="mixture", paper="shen2024ewemoe", needs="unlabelled inputs")
def ewemoe(
    bench: Bench,
    tv: TaskVectors,
    keep: float = 0.1,
    shared: bool = True,
    parts: str = "mlp",
    blocks: tuple[int, ...] | None = None,
    depth: int = 1,
    init: float = 0.3,
    noise: float = 0.0,
    average: str = "outputs",
    standardise: bool = True,
    rest: str | Tensor = "task_arithmetic",
    rest_numbers: Mapping[str, object] | None = None,
    lr: float = 5e-4,
    steps: int = 100,
    batch: int = 16,
    split: str = "val",
    routing: str = "sample",
    seed: int = 0,
    cosine: bool = False,
    **options,
) -> MixtureAdapted:
    """WEMoE with pruned task vectors in the mixtures (`keep`, see prune) and one router.

    Shen et al. 2024, "Efficient and Effective Weight-Ensembling Mixture of Experts". The router
    reads each block's own input and is `shared` by all, which divides what is trained by their
    number. The rest is merged from the task vectors as they were. The dictionaries are sparse in
    memory and in the file. All else as in `wemoe`; published are standardise=False, depth=2,
    noise=0.01, lr=1e-4 and 1,000 steps. With standardise=True each block standardises its own
    input. Raises what wemoe and prune raise.
    """
    plan = {
        "depth": depth,
        "average": average,
        "standardise": standardise,
        "routing": routing,
        "shared": shared,
        "sparse": True,
    }
    weights = rest_weights(tv, rest, rest_numbers, init)
    name = rest if isinstance(rest, str) else "weights"
    recipe = {
        "method": "ewemoe",
        "keep": keep,
        "rest": name,
        "rest_numbers": dict(rest_numbers or {}),
    }
    start, title = Start(init, noise, seed), f"E-WEMoE, {keep:.3g} kept"
    return learn_routers(
        bench, prune(tv, keep), weights, parts, blocks, start, plan, title, recipe,
        steps, lr, batch, split, seed, cosine, options,
    )  # fmt: skip
