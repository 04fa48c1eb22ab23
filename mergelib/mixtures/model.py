"""How a mixture is put together: a copy of a model whose chosen sites have mixed layers."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mergelib.mixtures.dictionaries import DenseDictionary, SparseDictionary
from mergelib.mixtures.layers import WeightEnsemblingLinear
from mergelib.mixtures.masks import RealTokens
from mergelib.mixtures.mixture import Mixture, Plan
from mergelib.mixtures.parts import Part
from mergelib.mixtures.router import Gate, Router
from mergelib.models.sites import Site, known_sites, sites
from mergelib.models.sites import blocks as blocks_of
from mergelib.vectors.task_vectors import TaskVectors

PARTS = {"mlp": ("mlp",), "attention": ("attention",), "both": ("mlp", "attention")}


@dataclass(frozen=True)
class Start:
    """How routers begin: see Router."""

    init: float = 0.3
    noise: float = 0.0
    seed: int = 0


def chosen_sites(
    model: torch.nn.Module, parts: str = "mlp", blocks: Sequence[int] | None = None
) -> list[Site]:
    """The sites of some parts ("mlp", "attention", "both") in some blocks (None: in all).

    Negative numbers count from the last block. Only these sites are looked at. Raises ValueError
    for another word, a block that there is not, or a model that cannot be taken apart there.
    """
    if parts not in PARTS:
        raise ValueError(f"parts must be one of {', '.join(PARTS)}, not {parts!r}")
    count = len(blocks_of(model))
    wanted = range(count) if blocks is None else blocks
    for block in wanted:
        if not -count <= block < count:
            raise ValueError(f"the encoder has {count} blocks, so there is no block {block}")
    return sites(model, PARTS[parts], {block % count for block in wanted})


def assemble(
    model: torch.nn.Module,
    plan: Plan,
    rest: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    deltas: Mapping[str, Tensor],
    start: Start = Start(),
) -> Mixture:
    """A mixture of the model's architecture; the model itself stays as it is.

    `rest`: the tensors outside the mixtures, by name. `base` and `deltas`: θ0 and τ (K, …) of
    those inside; dense ones are used as they are, without a copy, and a tensor without τ is not
    mixed. Raises KeyError for a site or tensor that there is not.
    """
    known = known_sites(model)
    model = copy.deepcopy(model).requires_grad_(False)
    for module in model.modules():
        if getattr(module, "chunk_size_feed_forward", 0):  # a gate must see all tokens at once
            module.chunk_size_feed_forward = 0
    device, router = next(iter(base.values())).device, None
    real, parts = RealTokens(), []
    for number, name in enumerate(plan.sites):
        site = known[name]
        if router is None or not plan.shared:
            router = Router(
                site.width,
                len(plan.tasks),
                plan.depth,
                start.init,
                start.noise,
                plan.average,
                start.seed * len(known) + number,
                device,
            )
        gate = Gate(router, site.width, plan.standardise)
        layers = [_mixed(plan, base, deltas, *names) for names in site.weights]
        parts.append(Part(site, gate, layers, real))
    for part in parts:
        part.install(model)
    real.watch(model, [part.site.place for part in parts])
    mixture = Mixture(model.to(device), plan, parts)
    with torch.no_grad():
        for name, tensor in mixture.encoder_state().items():
            tensor.copy_(rest[name])
    return mixture.eval()


def upscale(
    model: torch.nn.Module,
    tv: TaskVectors,
    rest: Tensor,
    parts: str | Sequence[Site] = "mlp",
    blocks: Sequence[int] | None = None,
    start: Start = Start(),
    **plan,
) -> Mixture:
    """A mixture that has weights `rest` (P,), but θ0 + Σ_k λ_k(input) τ_k in the chosen parts.

    `tv` are task vectors of this model: tensors that they leave out are the model's own. `parts`
    is a word (see chosen_sites), or the sites themselves; `plan` are the further fields of Plan.
    The dictionaries are views of the task vectors. Raises CheckpointError if the model does not
    fit them (see Layout.require_fits), ValueError for parts or blocks that there are not, or none.
    """
    layout = tv.layout
    layout.require_fits(model)
    chosen = chosen_sites(model, parts, blocks) if isinstance(parts, str) else list(parts)
    if not chosen:
        raise ValueError("a mixture needs a site at least, and none is chosen")
    return assemble(
        model,
        Plan(tv.tasks, tuple(site.name for site in chosen), **plan),
        layout.state_for(model, rest),
        layout.state_for(model, tv.base),
        layout.split(tv.deltas),
        start,
    )


def _mixed(
    plan: Plan,
    base: Mapping[str, Tensor],
    deltas: Mapping[str, Tensor],
    weight: str,
    bias: str | None,
) -> WeightEnsemblingLinear:
    kind = SparseDictionary if plan.sparse else DenseDictionary
    return WeightEnsemblingLinear(
        base[weight],
        None if bias is None else base[bias],
        kind(_deltas(plan, base, deltas, weight), plan.budget),
        None if bias is None else _deltas(plan, base, deltas, bias),
        plan.evaluation,
        plan.budget,
    )


def _deltas(plan: Plan, base: Mapping, deltas: Mapping, name: str) -> Tensor:
    """(K, …) task vectors of a tensor; zeros, which take no memory, if they leave it out."""
    if name in deltas:
        return deltas[name]
    own = base[name]
    return own.new_zeros(()).expand(len(plan.tasks), *own.shape)
