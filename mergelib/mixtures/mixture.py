"""A transformer some parts of which are mixtures; the rest is merged once and for all."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mergelib.evaluation import encode
from mergelib.mixtures.layers import WeightEnsemblingLinear
from mergelib.mixtures.masks import token_mean
from mergelib.mixtures.parts import MixedLinear, MixtureAttention, Part
from mergelib.mixtures.router import Gate, Router, check_routing
from mergelib.models.embeddings import lookups, untied
from mergelib.models.inputs import Inputs
from mergelib.models.products import positions, products

SMALLEST_DEVIATION = 1e-6

Run = Callable[[], object]
"""Calls the model any number of times, on any inputs; what it returns is not looked at."""


@dataclass(frozen=True)
class Plan:
    """What a mixture is apart from its numbers; what its file says beside the tensors.

    `sites` are the names of the sites that are mixtures. `shared`: one router for all of them.
    `sparse`: the dictionaries hold only what is not zero.
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


class Mixture(torch.nn.Module):
    """A model with weights of each input's own, called as the model that it was made of is called.

    `encoder` is a copy of that model with mixed layers, `parts` are its mixtures in the order of
    `plan.sites`, which is that in which they run. Parameters are the encoder's, which are frozen,
    and the routers'. Where the model, or a module around the blocks, is given an `attention_mask`
    (B, T), routers leave padding out (see RealTokens).
    """

    def __init__(self, encoder: torch.nn.Module, plan: Plan, parts: Sequence[Part]) -> None:
        super().__init__()
        self.encoder, self.plan, self.parts = encoder, plan, torch.nn.ModuleList(parts)
        self.set_routing(plan.routing)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the K tasks."""
        return self.plan.tasks

    @property
    def routers(self) -> list[Router]:
        """Each router once."""
        return list({id(p.gate.router): p.gate.router for p in self.parts}.values())

    def learnt(self) -> dict[str, Tensor]:
        """What is learnt: the state of the routers, by their numbers."""
        return torch.nn.ModuleList(self.routers).state_dict()

    def forward(self, *inputs: object, **options: object) -> object:
        return self.encoder(*inputs, **options)

    def __getattr__(self, name: str) -> object:
        """What this does not have is the encoder's, say a method that encodes one kind of input."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "encoder":
                raise
            return getattr(self.encoder, name)

    def set_routing(self, routing: str) -> "Mixture":
        """Route each input by itself, "sample", or all inputs of a batch alike, "batch"."""
        self.plan = dataclasses.replace(self.plan, routing=check_routing(routing))
        for part in self.parts:
            part.gate.routing = routing
        return self

    @torch.no_grad()
    def coefficients(self, inputs: Inputs | Tensor | Run, batch: int | None = None) -> Tensor:
        """λ in each part of N inputs, (N, parts, K) float32, or of all that a function calls the
        model with."""
        run = _runs(self, inputs, batch)
        rows = self.at_gates(run, lambda x, real, mix: mix.expand(len(x), -1).float())
        return torch.stack(rows, 1)

    @torch.no_grad()
    def fit_standardisation(self, inputs: Inputs | Tensor | Run) -> None:
        """Let the routers see token means of mean 0 and deviation 1 over these inputs, or over all
        that a function calls the model with. Padding is in no mean.

        Raises ValueError if the plan has no standardisation.
        """
        if not self.plan.standardise:
            raise ValueError("the plan of this mixture has no standardisation of router inputs")
        run = _runs(self, inputs)
        found = self.at_gates(run, lambda x, real, mix: token_mean(x.double(), real))
        for part, means in zip(self.parts, found, strict=True):
            part.gate.mean.copy_(means.mean(0))
            deviation = means.std(0, correction=0).clamp_min(SMALLEST_DEVIATION)
            part.gate.deviation.copy_(deviation)

    def at_gates(
        self, run: Run, read: Callable[[Tensor, Tensor | None, Tensor], Tensor]
    ) -> list[Tensor]:
        """read(tokens, real, λ) at each part's gate while `run` runs, (N, …) a part.

        Tokens are (B, T, d), real (B, T) bool or None where all are, λ (B, K) or (1, K). Raises
        ValueError if a part does not run at all.
        """
        found: list[list[Tensor]] = [[] for _ in self.parts]

        def keep(number: int):
            def hook(gate: Gate, inputs: tuple, mix: Tensor) -> None:
                found[number].append(read(*inputs, mix))

            return hook

        gates = [part.gate for part in self.parts]
        hooks = [gate.register_forward_hook(keep(i)) for i, gate in enumerate(gates)]
        try:
            run()
        finally:
            for hook in hooks:
                hook.remove()
        for part, rows in zip(self.parts, found, strict=True):
            if not rows:
                raise ValueError(f"{part.site.name} is a mixture, but it did not run")
        return [torch.cat(rows) for rows in found]

    def sizes(self) -> dict[str, int]:
        """Numbers that are `trainable` (in routers), in `dictionaries`, and in `total`.

        Zeros of sparse dictionaries do not count, nor what inputs are standardised by.
        """
        trainable = sum(p.numel() for router in self.routers for p in router.parameters())
        frozen = sum(t.numel() for name, t in self.encoder_state().items() if t.is_floating_point())
        base = dictionaries = 0
        for _, bias, layer in self.named_layers():
            base += layer.weight.numel()
            dictionaries += layer.dictionary.stored
            if bias is not None:
                base += layer.bias.numel()
                dictionaries += layer.bias_deltas.numel()
        total = trainable + frozen + base + dictionaries
        return {"trainable": trainable, "dictionaries": dictionaries, "total": total}

    def cost(self, tokens: int | None = None) -> dict[str, int]:
        """Multiply-adds of an input of `tokens` real tokens (default: a vision transformer's).

        `products`: with weights, and of attention; `mixing`: K · P_mixed where weights are mixed
        (zeros of pruned task vectors are multiplied, too) and T · K · P_mixed where outputs are;
        `routing`: the routers. Raises ValueError if the number must be given.
        """
        mixed = {name: layer.weight for name, _, layer in self.named_layers()}
        weights = {**self.encoder_state(), **mixed}
        tokens = positions(weights) if tokens is None else tokens
        mixing = 0
        for _, bias, layer in self.named_layers():
            size, biases = layer.weight.numel(), 0 if bias is None else len(layer.weight)
            if layer.chosen(tokens) == "weights":
                mixing += layer.tasks * (size + biases)
            else:
                mixing += layer.tasks * (tokens * (size + biases) + biases)
        return {
            "products": products(weights, lookups(self.encoder), tokens),
            "mixing": mixing,
            "routing": sum(part.gate.router.products(tokens) for part in self.parts),
        }

    def named_layers(self) -> Iterator[tuple[str, str | None, WeightEnsemblingLinear]]:
        """(weight's name, bias's name or None, layer) of all mixed layers, as the model calls
        its own tensors."""
        for part in self.parts:
            for (weight, bias), layer in zip(part.site.weights, part.layers, strict=True):
                yield weight, bias, layer

    def encoder_state(self) -> dict[str, Tensor]:
        """The encoder's tensors outside the mixtures, tied ones once."""
        inside = tuple(
            f"{name}."
            for name, module in self.encoder.named_modules(remove_duplicate=False)
            if isinstance(module, MixedLinear | MixtureAttention)
        )
        state = untied(self.encoder)
        return {name: t for name, t in state.items() if not name.startswith(inside)}

    def save(self, path: str | os.PathLike, precision: torch.dtype = torch.float32) -> None:
        """Write it to a file: see save_mixture."""
        from mergelib.mixtures.files import save_mixture  # which imports this module

        save_mixture(self, path, precision)


def _runs(model: Mixture, inputs: Inputs | Tensor | Run, batch: int | None = None) -> Run:
    return inputs if callable(inputs) else lambda: encode(model, inputs, batch=batch)
