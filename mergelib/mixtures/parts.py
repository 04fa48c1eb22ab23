"""What stands in the place of a block's MLP or attention: the same module with mixed weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mergelib.mixtures.layers import WeightEnsemblingLinear, WeightEnsemblingMLP
from mergelib.mixtures.router import Gate
from mergelib.models.attention import attend, heads_of
from mergelib.models.sites import Site


class MixtureMLP(torch.nn.Module):
    """An MLP whose weights are mixed for every image by a gate that reads the MLP's own input."""

    def __init__(
        self,
        site: Site,
        gate: Gate,
        layers: Sequence[WeightEnsemblingLinear],
        activation: torch.nn.Module,
    ) -> None:
        super().__init__()
        self.site, self.gate = site, gate
        self.mlp = WeightEnsemblingMLP(layers[0], activation, layers[1])

    @property
    def layers(self) -> tuple[WeightEnsemblingLinear, ...]:
        """Those that read the input, then the one that writes the output."""
        return self.mlp.first, self.mlp.second

    def forward(self, x: Tensor) -> Tensor:
        x = _batch_first(x, self.site)
        return _batch_first(self.mlp(x, self.gate(x)), self.site)


class MixtureAttention(torch.nn.Module):
    """Self-attention with mixed projections, called as the module that it replaces was."""

    def __init__(self, site: Site, gate: Gate, layers: Sequence[WeightEnsemblingLinear]) -> None:
        super().__init__()
        self.site, self.gate = site, gate
        self.projections, self.out = torch.nn.ModuleList(layers[:-1]), layers[-1]

    @property
    def layers(self) -> tuple[WeightEnsemblingLinear, ...]:
        """Those that read the input, then the one that writes the output."""
        return *self.projections, self.out

    def forward(self, *inputs: Tensor, **options) -> tuple[Tensor, None]:
        """(output, None): attention weights are not given."""
        x = inputs[0] if inputs else options["hidden_states"]
        masks = [options.get("attn_mask"), options.get("attention_mask")]
        if any(mask is not None for mask in masks) or any(y is not x for y in inputs[:3]):
            raise ValueError(f"{self.site.name}: a mixture attends to all tokens of its own input")
        x = _batch_first(x, self.site)
        mix = self.gate(x)
        projected = torch.cat([layer(x, mix) for layer in self.projections], -1)
        attended = attend(*heads_of(projected, self.site.heads)).transpose(1, 2)
        y = self.out(attended.reshape(x.shape), mix)
        return _batch_first(y, self.site), None


def _batch_first(x: Tensor, site: Site) -> Tensor:
    """From the model's order of batch and tokens to (B, T, d), or back."""
    return x if site.batch_first else x.transpose(0, 1)
