"""What stands in the place of a site's layers: the same with mixed weights, all by one gate."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mergelib.mixtures.layers import WeightEnsemblingLinear
from mergelib.mixtures.masks import RealTokens
from mergelib.mixtures.router import Gate
from mergelib.models.attention import AsTorch
from mergelib.models.sites import Site, part, replace


class Part(torch.nn.Module):
    """A site that is a mixture: its gate, and its mixed layers, which are in the model.

    The gate reads the site's own input, which is that of its first layer; the λ that it gives is
    held for the others until the last has run. `layers` are in the order of `site.weights`.
    """

    def __init__(
        self, site: Site, gate: Gate, layers: Sequence[WeightEnsemblingLinear], real: RealTokens
    ) -> None:
        super().__init__()
        self.site, self.gate, self.real = site, gate, real
        self.layers = tuple(layers)  # a tuple, because they are the model's own modules
        self._held: Tensor | None = None

    def install(self, model: torch.nn.Module) -> None:
        """Put the mixed layers in the place of the model's."""
        if self.site.heads:
            replace(model, self.site.name, MixtureAttention(self))
            return
        for place, name in enumerate(self.site.layers):
            old = part(model, name)
            replace(model, name, MixedLinear(self, place, old.in_features, old.out_features))

    def route(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """λ (B, K) of the site's input (B, T, d), which the site's later layers find in `held`."""
        self._held = self.gate(x, self.real.of(x) if real is None else real)
        return self._held

    def held(self, last: bool) -> Tensor:
        """The λ of the first layer's call; forgotten with the site's last."""
        mix = self._held
        if mix is None:
            raise RuntimeError(
                f"{self.site.name}: its first layer, {self.site.layers[0]}, did not run"
            )
        if last:
            self._held = None
        return mix


class MixedLinear(torch.nn.Module):
    """A linear layer of a site, called as the plain one that it replaces was."""

    def __init__(self, owner: Part, place: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.layer, self.place = owner.layers[place], place
        self.in_features, self.out_features = in_features, out_features
        self._owner = (owner,)  # in a tuple, because it is not this module's own

    @property
    def weight(self) -> Tensor:
        """θ0's weight, whose type some models ask for."""
        return self.layer.weight

    @property
    def bias(self) -> Tensor | None:
        """θ0's bias."""
        return self.layer.bias

    def forward(self, x: Tensor) -> Tensor:
        (owner,) = self._owner
        x = x if owner.site.batch_first else x.transpose(0, 1)
        last = self.place + 1 == len(owner.layers)
        mix = owner.held(last) if self.place else owner.route(x)
        y = self.layer(x, mix)
        return y if owner.site.batch_first else y.transpose(0, 1)


class MixtureAttention(torch.nn.Module):
    """torch's MultiheadAttention as self-attention with mixed projections, called as it was."""

    def __init__(self, owner: Part) -> None:
        super().__init__()
        self.projection, self.out = owner.layers
        self.batch_first, self.num_heads = owner.site.batch_first, owner.site.heads
        self._owner = (owner,)

    def forward(self, *inputs: Tensor, **options) -> tuple[Tensor, Tensor | None]:
        """(output, attention weights or None); see AsTorch for arguments and errors."""
        (owner,) = self._owner

        def project(x: Tensor, real: Tensor | None):
            mix = owner.route(x, real)
            owner.held(last=True)
            return self.projection(x, mix), lambda joined: self.out(joined, mix)

        site = owner.site
        as_torch = AsTorch(site.name, site.heads, site.batch_first, project)
        return as_torch(*inputs, **options)
