"""A vision transformer some parts of which are mixtures; the rest is merged once and for all."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mergelib.evaluation import encode
from mergelib.mixtures.dictionaries import DenseDictionary, SparseDictionary
from mergelib.mixtures.layers import WeightEnsemblingLinear
from mergelib.mixtures.parts import MixtureAttention, MixtureMLP
from mergelib.mixtures.router import Gate, Router, check_routing
from mergelib.models.sites import Site, activation_of, replace, sites
from mergelib.vectors.checkpoint import Checkpoint
from mergelib.vectors.task_vectors import TaskVectors

PARTS = {"mlp": ("mlp",), "attention": ("attention",), "both": ("mlp", "attention")}
SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Plan:
    """What a mixture is apart from its numbers; what its file says beside the tensors.

    `sites` are the modules that are mixtures. `shared`: one router for all of them. `sparse`: the
    dictionaries hold only what is not zero.
    """

    tasks: tuple[str, ...]
    sites: tuple[str, ...]
    depth: int = 2
    average: str = "outputs"
    shared: bool = False
    standardise: bool = False
    sparse: bool = False
    routing: str = "sample"
    evaluation: str = "auto"
    budget: int | None = None


@dataclass(frozen=True)
class Start:
    """How routers begin: see Router."""

    init: float = 0.3
    noise: float = 0.0
    seed: int = 0


class Mixture(torch.nn.Module):
    """Images (B, 3, H, W) to features (B, d), with weights of each image's own.

    It takes the encoder's place in `mergelib.evaluation`. Its parameters are the encoder's, which
    are frozen, and the routers'.
    """

    def __init__(self, encoder: torch.nn.Module, plan: Plan) -> None:
        super().__init__()
        self.encoder, self.plan = encoder, plan
        self.set_routing(plan.routing)

    @property
    def parts(self) -> list[MixtureMLP | MixtureAttention]:
        """The mixtures in the order of `plan.sites`, which is that in which they run."""
        return [self.encoder.get_submodule(name) for name in self.plan.sites]

    @property
    def routers(self) -> list[Router]:
        """Each router once."""
        return list({id(p.gate.router): p.gate.router for p in self.parts}.values())

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)

    def set_routing(self, routing: str) -> "Mixture":
        """Route each image by itself, "sample", or all images of a batch alike, "batch"."""
        self.plan = dataclasses.replace(self.plan, routing=check_routing(routing))
        for part in self.parts:
            part.gate.routing = routing
        return self

    @torch.no_grad()
    def coefficients(self, images: Tensor, batch: int | None = None) -> Tensor:
        """λ of uint8 images (N, 3, H, W) in each part, (N, parts, K) float32."""
        rows = self._at_gates(images, lambda x, mix: mix.expand(len(x), -1).float(), batch)
        return torch.stack(rows, 1)

    @torch.no_grad()
    def fit_standardisation(self, images: Tensor) -> None:
        """Let the routers see token means of mean 0 and deviation 1 over uint8 images (N, …).

        Raises ValueError if the plan has no standardisation.
        """
        if not self.plan.standardise:
            raise ValueError("the plan of this mixture has no standardisation of router inputs")
        found = self._at_gates(images, lambda x, mix: x.double().mean(1))
        for part, means in zip(self.parts, found, strict=True):
            part.gate.mean.copy_(means.mean(0))
            deviation = means.std(0, correction=0).clamp_min(SMALLEST_DEVIATION)
            part.gate.deviation.copy_(deviation)

    def _at_gates(
        self,
        images: Tensor,
        read: Callable[[Tensor, Tensor], Tensor],
        batch: int | None = None,
    ) -> list[Tensor]:
        """read(tokens, λ) of uint8 images (N, …) at each part's gate, (N, …) a part."""
        found: list[list[Tensor]] = [[] for _ in self.parts]

        def keep(number: int):
            def hook(gate: Gate, inputs: tuple, mix: Tensor) -> None:
                found[number].append(read(inputs[0], mix))

            return hook

        gates = [part.gate for part in self.parts]
        hooks = [gate.register_forward_hook(keep(i)) for i, gate in enumerate(gates)]
        try:
            encode(self, images, batch=batch)
        finally:
            for hook in hooks:
                hook.remove()
        return [torch.cat(rows) for rows in found]

    def sizes(self) -> dict[str, int]:
        """Numbers that are `trainable` (in routers), in `dictionaries`, and in `total`.

        Zeros of sparse dictionaries do not count, nor what inputs are standardised by.
        """
        trainable = sum(p.numel() for router in self.routers for p in router.parameters())
        frozen = sum(t.numel() for name, t in self.encoder_state().items() if t.is_floating_point())
        base = dictionaries = 0
        for _, _, layer in self.named_layers():
            base += layer.weight.numel() + layer.bias.numel()
            dictionaries += layer.dictionary.stored + int(layer.bias_deltas.numel())
        total = trainable + frozen + base + dictionaries
        return {"trainable": trainable, "dictionaries": dictionaries, "total": total}

    def named_layers(self) -> Iterator[tuple[str, str, WeightEnsemblingLinear]]:
        """(weight's name, bias's name, layer) of all mixed layers, the names the encoder's own."""
        for part in self.parts:
            names = (*part.site.inputs, part.site.output)
            for (weight, bias), layer in zip(names, part.layers, strict=True):
                yield weight, bias, layer

    def encoder_state(self) -> dict[str, Tensor]:
        """The encoder's tensors outside the mixtures."""
        inside = tuple(f"{name}." for name in self.plan.sites)
        state = self.encoder.state_dict()
        return {name: t for name, t in state.items() if not name.startswith(inside)}


def chosen_sites(
    encoder: torch.nn.Module, parts: str = "mlp", blocks: tuple[int, ...] | None = None
) -> list[Site]:
    """The sites of some parts ("mlp", "attention", "both") in some blocks (None: in all).

    Negative numbers count from the last block. Raises ValueError for another word, a block that
    there is not, or an encoder that cannot be taken apart.
    """
    if parts not in PARTS:
        raise ValueError(f"parts must be one of {', '.join(PARTS)}, not {parts!r}")
    found = sites(encoder)
    count = 1 + max(site.block for site in found)
    wanted = range(count) if blocks is None else blocks
    for block in wanted:
        if not -count <= block < count:
            raise ValueError(f"the encoder has {count} blocks, so there is no block {block}")
    numbers = {block % count for block in wanted}
    return [site for site in found if site.kind in PARTS[parts] and site.block in numbers]


def assemble(
    encoder: torch.nn.Module,
    plan: Plan,
    rest: Mapping[str, Tensor],
    base: Mapping[str, Tensor],
    deltas: Mapping[str, Tensor],
    start: Start = Start(),
) -> Mixture:
    """A mixture of the encoder's architecture; the encoder itself stays as it is.

    `rest`: the tensors outside the mixtures, by name. `base` and `deltas`: θ0 and τ (K, …) of
    those inside; dense ones are used as they are, without a copy.
    """
    model, known = copy.deepcopy(encoder), {site.name: site for site in sites(encoder)}
    model.requires_grad_(False)
    device, shared = next(iter(base.values())).device, None
    for number, name in enumerate(plan.sites):
        site = known[name]
        if shared is None or not plan.shared:
            shared = Router(
                site.width,
                len(plan.tasks),
                plan.depth,
                start.init,
                start.noise,
                plan.average,
                start.seed * len(known) + number,
                device,
            )
        gate = Gate(shared, site.width, plan.standardise)
        layers = []
        for weight, bias in (*site.inputs, site.output):
            kind = SparseDictionary if plan.sparse else DenseDictionary
            dictionary = kind(deltas[weight], plan.budget)
            layers.append(
                WeightEnsemblingLinear(
                    base[weight],
                    base[bias],
                    dictionary,
                    deltas[bias],
                    plan.evaluation,
                    plan.budget,
                )
            )
        if site.kind == "mlp":
            module = MixtureMLP(site, gate, layers, activation_of(model, site))
        else:
            module = MixtureAttention(site, gate, layers)
        replace(model, name, module)
    model = Mixture(model.to(device), plan)
    state = model.encoder_state()
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(rest[name])
    return model.eval()


def upscale(
    encoder: torch.nn.Module,
    tv: TaskVectors,
    rest: Tensor,
    parts: str = "mlp",
    blocks: tuple[int, ...] | None = None,
    start: Start = Start(),
    **plan,
) -> Mixture:
    """A mixture that has weights `rest` (P,), but θ0 + Σ_k λ_k(image) τ_k in the chosen parts.

    `tv` are task vectors of this encoder; `plan` the further fields of Plan. The dictionaries
    are views of the task vectors. Raises CheckpointError if the encoder has not the tensors of
    `tv`, ValueError for parts or blocks that there are not.
    """
    tv.layout.check(Checkpoint.of_state(encoder.state_dict(), "the encoder"))
    chosen = chosen_sites(encoder, parts, blocks)
    layout = tv.layout
    return assemble(
        encoder,
        Plan(tv.tasks, tuple(site.name for site in chosen), **plan),
        layout.unflatten(rest),
        layout.unflatten(tv.base),
        layout.split(tv.deltas),
        start,
    )
