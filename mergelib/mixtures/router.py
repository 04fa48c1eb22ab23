"""Routers: what an input's tokens say about how much of each task vector it gets."""

import torch
from torch import Tensor
from torch.nn.functional import linear, relu

from mergelib.mixtures.masks import token_mean

AVERAGES = ("outputs", "inputs")
HIDDEN_SPREAD = 0.01


class Router(torch.nn.Module):
    """λ (B, K) from tokens h (B, T, d), without softmax: unbounded, and of either sign.

    Tang et al. 2024, "Weight-Ensembling Mixture of Experts", section 3.2. Of depth 0, λ is a
    vector that is learnt; of depth 1, W h̄ + b with h̄ the mean over the tokens; of depth 2,
    W2 relu(W1 h + b1) + b2 with W1 (d, d), averaged over the tokens: `average="outputs"` does
    that, as published, "inputs" routes the tokens' mean, which costs a T-th. Means are over the
    tokens that are `real` (B, T), or over all.

    b is `init` at first, W1 normal with deviation 0.01, the last layer's weights normal with
    deviation `noise`: with noise=0 λ = `init` for every input at the start; published is 0.01.
    The same `seed` gives the same router.
    """

    def __init__(
        self,
        width: int,
        tasks: int,
        depth: int = 2,
        init: float = 0.3,
        noise: float = 0.0,
        average: str = "outputs",
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        if depth not in (0, 1, 2):
            raise ValueError(f"a router has depth 0, 1 or 2, not {depth}")
        if average not in AVERAGES:
            raise ValueError(f"average must be one of {', '.join(AVERAGES)}, not {average!r}")
        if not abs(init) < float("inf") or not 0 <= noise < float("inf"):
            raise ValueError(
                f"init must be finite and noise finite and ≥ 0, not {init} and {noise}"
            )
        self.depth, self.average = depth, average
        generator = torch.Generator().manual_seed(seed)

        def parameter(shape: tuple[int, ...], value: float = 0.0, spread: float = 0.0):
            if torch.device(device).type == "meta":
                return torch.nn.Parameter(torch.empty(shape, device=device))
            numbers = torch.full(shape, value)
            if spread:
                numbers += spread * torch.randn(shape, generator=generator)
            return torch.nn.Parameter(numbers.to(device))

        if depth == 2:
            self.hidden_weight = parameter((width, width), spread=HIDDEN_SPREAD)
            self.hidden_bias = parameter((width,))
        if depth:
            self.weight = parameter((tasks, width), spread=noise)
        self.bias = parameter((tasks,), init)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        if self.depth == 0:
            return self.bias.expand(len(tokens), -1)
        if self.depth == 1 or self.average == "inputs":
            tokens = tokens.float() if tokens.dtype.itemsize < 4 else tokens
            tokens = token_mean(tokens, real)
        if self.depth == 2:
            tokens = relu(linear(tokens, self.hidden_weight, self.hidden_bias))
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.to(self.weight.dtype)
            mean = token_mean(tokens, real) if tokens.dim() == 3 else tokens
            return linear(mean, self.weight, self.bias)

    def products(self, tokens: int) -> int:
        """Multiply-adds for an input of that many tokens."""
        if self.depth == 0:
            return 0
        often = tokens if self.average == "outputs" else 1
        hidden = often * self.hidden_weight.numel() if self.depth == 2 else 0
        return hidden + self.weight.numel()

    def extra_repr(self) -> str:
        return f"depth={self.depth}, K={len(self.bias)}, average={self.average!r}"


class Gate(torch.nn.Module):
    """A part's router with what its inputs are standardised by; several may share a router.

    With `mean` and `deviation` (d,) the router sees (h − mean) / deviation. `routing="batch"`
    averages λ over the batch, (1, K), as widely used code does: where a batch holds one task
    that tells the model which, and an input's prediction depends on its neighbours. It is here to
    show just that.
    """

    def __init__(self, router: Router, width: int, standardise: bool = False) -> None:
        super().__init__()
        self.router, self.routing = router, "sample"
        device = router.bias.device
        self.register_buffer("mean", torch.zeros(width, device=device) if standardise else None)
        ones = torch.ones(width, device=device) if standardise else None
        self.register_buffer("deviation", ones)

    def forward(self, tokens: Tensor, real: Tensor | None = None) -> Tensor:
        if self.mean is not None and self.router.depth:
            tokens = (tokens - self.mean) / self.deviation
        mix = self.router(tokens, real)
        return mix.mean(0, keepdim=True) if self.routing == "batch" else mix


ROUTINGS = ("sample", "batch")


def check_routing(routing: str) -> str:
    """The word, if it is one of those; else ValueError."""
    if routing not in ROUTINGS:
        raise ValueError(f"routing must be one of {', '.join(ROUTINGS)}, not {routing!r}")
    return routing
