"""WEMoE and E-WEMoE: MLPs whose weights are mixed anew for every image.

E-WEMoE is the same with one router for all blocks and task vectors of few numbers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from mergelib.adaptation.bench import Bench
from mergelib.methods.entry import method
from mergelib.mixtures.learning import MixtureAdapted, learn_routers, rest_weights
from mergelib.mixtures.model import Start
from mergelib.vectors.magnitudes import smallest_kept_magnitude
from mergelib.vectors.task_vectors import TaskVectors


@method(title="WEMoE", family="mixture", paper="tang2024wemoe", needs="unlabelled inputs")
def wemoe(
    bench: Bench,
    tv: TaskVectors,
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
    cosine: bool = True,
    **options,
) -> MixtureAdapted:
    """θ(x) = θ0 + Σ_k r_k(h(x)) τ_k in every chosen part, h(x) its own input; the rest is merged.

    Tang et al. 2024, "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts". The
    routers r (Router: `depth`, `init`, `noise`, `average`) learn by the summed entropy of the
    predictions. The rest has the weights `rest`: a static method of the registry with
    `rest_numbers` (task arithmetic with λ = `init` by default, so that the model begins as task
    arithmetic), or a vector (P,). `parts`: "mlp", "attention" or "both", in all `blocks` or some.

    standardise=True lets the routers see token means of mean 0 and deviation 1 over unlabelled
    images: they are far from that, a few large features swamp the others. Published are
    standardise=False, depth=2, noise=0.01, lr=1e-4 and 1,000 steps. `cosine` lets the rate fall
    to 0 over the steps, as published (see adapt). `routing="batch"` routes
    all images of a batch alike (Gate).

    `bench`, `split` and `options` as in `adamerging`, but `evaluate` takes the model, say
    `lambda m: evaluate(m, bench.heads, bench.suite)`. Labels are not used. Raises ValueError for
    words and numbers that there are not, and what `adapt` raises.
    """
    plan = {
        "depth": depth,
        "average": average,
        "standardise": standardise,
        "routing": routing,
    }
    weights = rest_weights(tv, rest, rest_numbers, init)
    name = rest if isinstance(rest, str) else "weights"
    recipe = {"method": "wemoe", "rest": name, "rest_numbers": dict(rest_numbers or {})}
    start, title = Start(init, noise, seed), f"WEMoE, {parts}"
    return learn_routers(
        bench, tv, weights, parts, blocks, start, plan, title, recipe,
        steps, lr, batch, split, seed, cosine, options,
    )  # fmt: skip


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
