"""WEMoE: MLPs whose weights are mixed anew for every image."""

from collections.abc import Mapping

from torch import Tensor

from mergelib.adaptation.adamerging import Bench
from mergelib.mixtures.learning import MixtureAdapted, learn_routers, rest_weights
from mergelib.mixtures.model import Start
from mergelib.registration import method
from mergelib.task_vectors import TaskVectors


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
