"""Masks over all weights: one logit a weight, relaxed Bernoulli variables, deployed masks.

Every mask here is divided, tensor by tensor, by its mean, so that the mean of each tensor's
mask is 1 and its task vectors keep their length on average.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mergelib.adaptation import combination
from mergelib.vectors import passes
from mergelib.vectors.groups import Groups, Tile
from mergelib.vectors.layout import Layout

KINDS = ("sample", "expected", "binary")

_SMALLEST = 2.0**-25  # what a uniform draw of 0 stands for: draws are multiples of 2⁻²⁴
_REACH, _FINENESS = 16, 256  # the expectation is tabulated for |logit| ≤ 16 in steps of 1/256


def relaxed_mask(
    logits: Tensor,
    layout: Layout,
    temperature: float,
    generator: torch.Generator,
    out: Tensor | None = None,
    consume: bool = False,
) -> Tensor:
    """r = m / mean_tensor(m), (P,), with m_p = σ((x_p + log u_p − log(1 − u_p)) / T), u ~ U(0, 1).

    The relaxed Bernoulli (binary Concrete) variable of Maddison et al. 2017 with logits x (P,),
    rescaled as in Tang et al. 2023, "Concrete subspace learning", section 3.2; the gradient
    reaches x through m and through the mean. The mean over each tensor of `layout` is 1, and a
    tensor of one weight has r = 1. Where all of a tensor's m are too small for their type, r = 0.

    `generator` gives one number, from which all u are drawn, so its later draws do not depend on
    P. On CPUs the draws are the same for any number of cores. The mask is written to `out` if
    given, and with `consume` the backward pass may write to the gradient (P,) that it is given:
    fresh memory for P numbers costs as much time as drawing them. Raises ValueError for logits of
    another shape or a temperature that is not above 0.
    """
    _require(logits, layout, temperature)
    seed = torch.randint(1 << 62, (), generator=generator, device=generator.device).item()
    out = torch.empty_like(logits) if out is None else out
    return _RelaxedMask.apply(logits, layout, temperature, seed, out, consume)


def expected_mask(logits: Tensor, layout: Layout, temperature: float) -> Tensor:
    """E[m] / mean_tensor(E[m]), (P,): the mask that the samples of `relaxed_mask` scatter around.

    E[m](x) = E_u[σ(x + T (log u − log(1 − u)))], by parts from the definition; it tends to σ(x),
    the probability of m > ½, as T → 0. From a table, right to 10⁻⁶. Raises what relaxed_mask
    raises.
    """
    _require(logits, layout, temperature)
    table = _expectations(temperature).to(logits)
    place = (logits.detach().clamp(-_REACH, _REACH) + _REACH) * _FINENESS
    below = place.long().clamp_max(len(table) - 2)
    mask = torch.lerp(table[below], table[below + 1], place - below)
    return divide_by_means(mask, layout)


def binary_mask(logits: Tensor, layout: Layout) -> Tensor:
    """1[x ≥ 0] / mean_tensor(1[x ≥ 0]), (P,): keeps the weights whose m is more likely above ½.

    A tensor that keeps none is zero everywhere. Raises ValueError for logits of another shape.
    """
    _require(logits, layout)
    return divide_by_means((logits >= 0).to(logits), layout)


def deployed_mask(
    logits: Tensor, layout: Layout, temperature: float, kind: str = "expected", seed: int = 0
) -> Tensor:
    """The mask (P,) of a finished model: kind="sample" (one draw, by `seed`), "expected" or
    "binary". Raises ValueError for another kind."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if kind == "binary":
        return binary_mask(logits, layout)
    if kind == "expected":
        return expected_mask(logits, layout, temperature)
    generator = torch.Generator().manual_seed(seed)
    return relaxed_mask(logits.detach(), layout, temperature, generator)


@torch.no_grad()
def divide_by_means(mask: Tensor, layout: Layout) -> Tensor:
    """`mask` (P,) divided by its mean over each tensor; tensors whose mean is 0 stay 0."""
    tensors, pieces = _tensors(layout, mask.device)
    sums = passes.run(
        lambda batch: (mask[tile.columns].sum().view(1) for tile in batch), pieces, mask.device
    )
    means = _means(sums, tensors, pieces)
    divided = torch.empty_like(mask)

    def divide(batch: Sequence[Tile]) -> Iterator[None]:
        for tile in batch:
            torch.div(mask[tile.columns], means[tile.first], out=divided[tile.columns])
            yield

    passes.run(divide, pieces, mask.device)
    return divided


class _RelaxedMask(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        logits: Tensor,
        layout: Layout,
        temperature: float,
        seed: int,
        out: Tensor,
        consume: bool,
    ) -> Tensor:
        x, mask = logits.detach(), out.detach()
        tensors, pieces = _tensors(layout, x.device)

        def draw(batch: Sequence[tuple[int, Tile]]) -> Iterator[Tensor]:
            buffer = _buffer(x, [tile for _, tile in batch])
            for number, tile in batch:
                noise = buffer[: tile.size]
                _uniform(noise, seed, number).logit_()
                m = torch.add(x[tile.columns], noise, out=mask[tile.columns])
                yield m.div_(temperature).sigmoid_().sum().view(1)

        sums = passes.run(draw, list(enumerate(pieces)), x.device)
        means = _means(sums, tensors, pieces)

        def divide(batch: Sequence[Tile]) -> Iterator[None]:
            for tile in batch:
                mask[tile.columns].div_(means[tile.first])
                yield

        passes.run(divide, pieces, x.device)
        ctx.tensors, ctx.pieces, ctx.means = tensors, pieces, means
        ctx.temperature, ctx.consume = temperature, consume
        ctx.save_for_backward(mask)
        return mask

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple:
        """∂L/∂x_p = (g_p − mean_tensor(g ⊙ r)) r_p (1 − m_p) / T, with m = r · mean(m)."""
        (mask,), pieces = ctx.saved_tensors, ctx.pieces
        mask, upstream = mask.detach(), gradient.detach()

        def products(batch: Sequence[Tile]) -> Iterator[Tensor]:
            for tile in batch:
                yield torch.dot(upstream[tile.columns], mask[tile.columns]).view(1)

        dots = passes.run(products, pieces, mask.device)
        common = (ctx.tensors.total(pieces, dots) / ctx.tensors.sizes.clamp_min(1)).tolist()
        found = upstream if ctx.consume else torch.empty_like(mask)

        def differentiate(batch: Sequence[Tile]) -> Iterator[None]:
            buffer = _buffer(mask, batch)
            for tile in batch:
                piece, left = tile.columns, buffer[: tile.size]
                r = mask[piece]
                torch.mul(r, -ctx.means[tile.first], out=left).add_(1).mul_(r)
                out = torch.sub(upstream[piece], common[tile.first], out=found[piece])
                out.mul_(left).div_(ctx.temperature)
                yield

        passes.run(differentiate, pieces, mask.device)
        return found, None, None, None, None, None


def _tensors(layout: Layout, device: torch.device) -> tuple[Groups, list[Tile]]:
    """One group a tensor, and their pieces."""
    tensors = Groups.of_layout(layout, "tensor")
    return tensors, tensors.pieces(device, combination.WIDTH)


def _uniform(out: Tensor, seed: int, number: int) -> Tensor:
    """Fill `out` (n,) with the uniform draws of piece `number`, above 0 and below 1."""
    if out.device.type != "cpu":
        generator = torch.Generator(out.device).manual_seed(seed + number)
        return out.uniform_(generator=generator).clamp_(_SMALLEST, 1 - 2 * _SMALLEST)
    generator = np.random.Generator(np.random.SFC64([seed, number]))
    generator.random(dtype=out.numpy().dtype, out=out.numpy())
    return out.clamp_min_(_SMALLEST)


def _buffer(like: Tensor, batch: Sequence[Tile]) -> Tensor:
    return like.new_empty(max(tile.size for tile in batch))


def _means(sums: Sequence[Tensor], tensors: Groups, pieces: Sequence[Tile]) -> list[float]:
    """Mean of each tensor, at least the smallest normal number, so that one can divide by it."""
    means = tensors.total(pieces, sums) / tensors.sizes.clamp_min(1)
    return means.clamp_min(torch.finfo(sums[0].dtype).tiny).tolist()


def _expectations(temperature: float) -> Tensor:
    """E[m] at logits −16, −16 + 1/256, …, 16 in float64.

    The trapezium rule in s = log u − log(1 − u), whose density is σ′(s): it converges faster than
    any power of the step for functions as smooth as these.
    """
    step = min(0.25, 0.5 / temperature)
    s = torch.arange(-40, 40 + step, step, dtype=torch.float64)
    density = torch.sigmoid(s) * torch.sigmoid(-s) * step
    x = torch.arange(-_REACH * _FINENESS, _REACH * _FINENESS + 1, dtype=torch.float64) / _FINENESS
    return torch.sigmoid(x.unsqueeze(1) + temperature * s) @ density


def _require(logits: Tensor, layout: Layout, temperature: float = 1.0) -> None:
    if tuple(logits.shape) != (layout.size,):
        raise ValueError(
            f"mask logits of the weights of {layout.source} have shape ({layout.size},), "
            f"not {tuple(logits.shape)}"
        )
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be above 0 and finite, not {temperature}")
