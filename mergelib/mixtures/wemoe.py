"""WEMoE and E-WEMoE: MLPs whose weights are mixed anew for every input.

E-WEMoE is the same with one router for all blocks and task vectors of few numbers.
"""

import torch

from mergelib.adaptation.bench import AnyBench
from mergelib.adaptation.learning import Learning, Watching, settled
from mergelib.methods.entry import method
from mergelib.mixtures.learning import (
    Mixing,
    MixtureAdapted,
    Routers,
    learn_routers,
    rest_weights,
)
from mergelib.models.sites import Site
from mergelib.vectors.magnitudes import smallest_kept_magnitude
from mergelib.vectors.task_vectors import TaskVectors

NEEDS = "unlabelled inputs, sorted by task"
PUBLISHED = {
    "depth": 2,
    "noise": 0.01,
    "standardise": False,
    "lr": 1e-4,
    "steps": 1000,
    "batch": 16,
    "split": "test",
}


@method(
    title="WEMoE",
    family="mixture",
    paper="tang2024wemoe",
    needs=NEEDS,
    published={**PUBLISHED, "cosine": True},
)
def wemoe(
    bench: AnyBench,
    tv: TaskVectors,
    sites: list[Site] | None = None,
    mixing: Mixing = Mixing(),
    learning: Learning = Learning(steps=100, lr=5e-4, batch=16, cosine=True),
    **settings: object,
) -> MixtureAdapted:
    """θ(x) = θ0 + Σ_k r_k(h(x)) τ_k in every chosen part, h(x) its own input; the rest is merged.

    Tang et al. 2024, "Merging Multi-Task Models via Weight-Ensembling Mixture of Experts". The
    routers r learn by the summed entropy of the predictions. The parts are those that `mixing`
    names, or `sites`, some of mergelib.models.sites.sites(model).

    Routers are given standardised token means by default: as they are, they are far from mean 0
    and deviation 1, and a few large features swamp the others. Where a mask says which tokens are
    real, padding is left out.

    `bench` is a Bench, a workbench or (encoder, heads, suite). `settings` are single fields of
    Mixing, Learning and Watching by name; their `evaluate` takes the mixture, say
    `lambda m: evaluate(m, bench.heads, bench.suite)`. Labels are not used. Raises ValueError for
    words and numbers that there are not, and what adamerging raises.
    """
    mixing, learning, watching = settled("wemoe", settings, mixing, learning, Watching())
    name = f"WEMoE, {mixing.parts if sites is None else 'chosen parts'}"
    routers = Routers(name, tv, rest_weights(tv, mixing), mixing, sites)
    return learn_routers(bench, routers, learning, watching, {"method": "wemoe"})


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


@method(
    title="E-WEMoE",
    family="mixture",
    paper="shen2024ewemoe",
    needs=NEEDS,
    published={**PUBLISHED, "keep": 0.1},
)
def ewemoe(
    bench: AnyBench,
    tv: TaskVectors,
    keep: float = 0.1,
    shared: bool = True,
    sites: list[Site] | None = None,
    mixing: Mixing = Mixing(),
    learning: Learning = Learning(steps=100, lr=5e-4, batch=16),
    **settings: object,
) -> MixtureAdapted:
    """WEMoE with pruned task vectors in the mixtures (`keep`, see prune) and one router.

    Shen et al. 2024, "Efficient and Effective Weight-Ensembling Mixture of Experts". The router
    reads each block's own input and is `shared` by all, which divides what is trained by their
    number. The rest is merged from the task vectors as they were. The dictionaries are sparse in
    memory and in the file. With standardised inputs each block standardises its own. All else as
    in `wemoe`. Raises what wemoe and prune raise.
    """
    mixing, learning, watching = settled("ewemoe", settings, mixing, learning, Watching())
    name, rest = f"E-WEMoE, {keep:.3g} kept", rest_weights(tv, mixing)
    routers = Routers(name, prune(tv, keep), rest, mixing, sites, shared, sparse=True)
    return learn_routers(bench, routers, learning, watching, {"method": "ewemoe", "keep": keep})
