"""Where the MLPs and the attention of a vision transformer are, in the layouts that exist.

open_clip's blocks have `mlp.c_fc`, `mlp.c_proj` and an `attn` of torch's own type, batch-first or
sequence-first; those of transformers have `mlp.fc1`, `mlp.fc2` and a `self_attn` of four linear
layers. Which one a model has is read off its modules, never assumed.
"""

from dataclasses import dataclass

import torch
from torch.nn import Linear, Module, MultiheadAttention

TOWERS = ("visual", "vision_model")  # of a model that reads text, too, only this part is meant


@dataclass(frozen=True)
class Site:
    """A part of a block that can be replaced.

    `name`: the module's; `kind`: "mlp" or "attention"; `block`: the block's number; `inputs` and
    `output`: (weight, bias) names of its linear layers, the `inputs` read what comes in.
    """

    name: str
    kind: str
    block: int
    inputs: tuple[tuple[str, str], ...]
    output: tuple[str, str]
    width: int
    batch_first: bool
    heads: int
    layout: str  # "open_clip" or "transformers": how the attention is called


def sites(encoder: Module) -> list[Site]:
    """All MLPs and attentions of a vision transformer in the order they run.

    Raises ValueError if the encoder has no block of a known layout, or one whose attention or
    MLP is of a kind that this library cannot take apart.
    """
    prefix = ""
    for tower in TOWERS:
        if isinstance(getattr(encoder, tower, None), Module):
            prefix = f"{tower}."
    found: list[Site] = []
    for name, module in encoder.named_modules():
        if not name.startswith(prefix):
            continue
        if isinstance(getattr(module, "attn", None), Module) and hasattr(module, "mlp"):
            found += _open_clip(name, module, _number(name))
        elif isinstance(getattr(module, "self_attn", None), Module) and hasattr(module, "mlp"):
            found += _transformers(name, module, _number(name))
    if not found:
        raise ValueError(
            f"{type(encoder).__name__} has no transformer block of open_clip's or of "
            "transformers' layout (attn or self_attn, and mlp)"
        )
    return found


def part(encoder: Module, name: str) -> Module:
    """The module of that dotted name."""
    return encoder.get_submodule(name)


def replace(encoder: Module, name: str, module: Module) -> None:
    """Put another module in the place of the one of that dotted name."""
    parent, _, child = name.rpartition(".")
    setattr(encoder.get_submodule(parent), child, module)


def activation_of(encoder: Module, site: Site) -> Module:
    """What lies between the two layers of an MLP."""
    mlp = part(encoder, site.name)
    return mlp.gelu if site.layout == "open_clip" else mlp.activation_fn


def _open_clip(name: str, block: Module, number: int) -> list[Site]:
    attention, mlp = block.attn, block.mlp
    inner = dict(mlp.named_children())
    # Other children (a norm that some configurations have) must do nothing.
    others = [m for n, m in inner.items() if n not in ("c_fc", "gelu", "c_proj")]
    _require_linear(name, "mlp", inner.get("c_fc"), inner.get("c_proj"))
    if "gelu" not in inner or any(not isinstance(m, torch.nn.Identity) for m in others):
        raise ValueError(f"{name}.mlp is not c_fc, gelu, c_proj: it cannot be made a mixture")
    if not isinstance(attention, MultiheadAttention) or attention.in_proj_weight is None:
        raise ValueError(
            f"{name}.attn is a {type(attention).__name__}, not torch's MultiheadAttention with "
            "one input projection: it cannot be made a mixture"
        )
    if attention.bias_k is not None or attention.add_zero_attn or attention.in_proj_bias is None:
        raise ValueError(f"{name}.attn has options that a mixture does not have")
    width, first = attention.embed_dim, attention.batch_first
    common = (width, first, attention.num_heads, "open_clip")
    return [
        Site(
            f"{name}.attn",
            "attention",
            number,
            ((f"{name}.attn.in_proj_weight", f"{name}.attn.in_proj_bias"),),
            _pair(f"{name}.attn.out_proj"),
            *common,
        ),
        Site(
            f"{name}.mlp",
            "mlp",
            number,
            (_pair(f"{name}.mlp.c_fc"),),
            _pair(f"{name}.mlp.c_proj"),
            *common,
        ),
    ]


def _transformers(name: str, block: Module, number: int) -> list[Site]:
    attention, mlp = block.self_attn, block.mlp
    projections = [getattr(attention, f"{n}_proj", None) for n in ("q", "k", "v", "out")]
    _require_linear(name, "mlp", getattr(mlp, "fc1", None), getattr(mlp, "fc2", None))
    _require_linear(name, "self_attn", *projections)
    if not isinstance(getattr(mlp, "activation_fn", None), Module):
        raise ValueError(f"{name}.mlp has no activation_fn: it cannot be made a mixture")
    common = (attention.embed_dim, True, attention.num_heads, "transformers")
    return [
        Site(
            f"{name}.self_attn",
            "attention",
            number,
            tuple(_pair(f"{name}.self_attn.{n}_proj") for n in "qkv"),
            _pair(f"{name}.self_attn.out_proj"),
            *common,
        ),
        Site(
            f"{name}.mlp",
            "mlp",
            number,
            (_pair(f"{name}.mlp.fc1"),),
            _pair(f"{name}.mlp.fc2"),
            *common,
        ),
    ]


def _require_linear(name: str, what: str, *modules: Module | None) -> None:
    if not all(isinstance(m, Linear) and m.bias is not None for m in modules):
        raise ValueError(
            f"{name}.{what} is not made of linear layers with biases: it cannot be made a mixture"
        )


def _pair(name: str) -> tuple[str, str]:
    return f"{name}.weight", f"{name}.bias"


def _number(name: str) -> int:
    """The last number in a module's name, its block's."""
    numbers = [word for word in name.split(".") if word.isdigit()]
    return int(numbers[-1]) if numbers else 0
