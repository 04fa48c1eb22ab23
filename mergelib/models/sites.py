"""Where the MLPs and the attention of a transformer are, in the layouts that exist.

open_clip, timm and the models of transformers name the linear layers of a block differently, and
some spread an MLP over two modules. `LAYOUTS` lists the names; which of them a model has is read
off its modules, never assumed. How a block computes with its layers need not be known, as only
the layers themselves are replaced; torch's MultiheadAttention alone is one module without layers
of its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch.nn import Linear, Module, MultiheadAttention

KINDS = ("attention", "mlp")  # in the order in which they run
VISION, DECODER = ("visual", "vision_model"), "decoder"
SHOWN = 8  # modules that a message names

# Names within a block: the layers that read what comes in, in running order, and the one that
# writes the result.
LAYOUTS = {
    "attention": (
        (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "self_attn.out_proj"),
        (("attention.q_proj", "attention.k_proj", "attention.v_proj"), "attention.o_proj"),
        (
            ("attention.self.query", "attention.self.key", "attention.self.value"),
            "attention.output.dense",
        ),
        (
            ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
            "attention.output.dense",
        ),
        (("attention.attn.q", "attention.attn.k", "attention.attn.v"), "attention.attn.o"),
        (("attention.q_lin", "attention.k_lin", "attention.v_lin"), "attention.out_lin"),
        (
            ("layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v"),
            "layer.0.SelfAttention.o",
        ),
        (("attn.qkv",), "attn.proj"),
    ),
    "mlp": (
        (("mlp.c_fc",), "mlp.c_proj"),
        (("mlp.fc1",), "mlp.fc2"),
        (("intermediate.dense",), "output.dense"),
        (("ffn.lin1",), "ffn.lin2"),
        (("layer.1.DenseReluDense.wi",), "layer.1.DenseReluDense.wo"),
        (
            ("layer.1.DenseReluDense.wi_0", "layer.1.DenseReluDense.wi_1"),
            "layer.1.DenseReluDense.wo",
        ),
    ),
}
# What shows that a block has such a part, whatever it is made of.
SIGNS = {
    "attention": ("attn", "self_attn", "attention", "layer.0.SelfAttention"),
    "mlp": ("mlp", "intermediate", "ffn", "layer.1.DenseReluDense"),
}
BESIDE = {"intermediate": ("intermediate", "output")}  # modules of a part that is spread over two


@dataclass(frozen=True)
class Site:
    """A part of a block whose weights can be mixed.

    `name`: what its modules' names have in common; `kind`: "mlp" or "attention"; `block`: the
    block's number, `place` its name. `layers`: the modules that are replaced, in running order,
    of which the first `readers` read the site's own input; `weights`: (weight, bias or None),
    names of its tensors, in the same order. `heads` is 0 but for a MultiheadAttention of torch,
    which is replaced whole: its one layer has two weights. Tokens are the second dimension of
    what comes in if `batch_first`, else the first.
    """

    name: str
    kind: str
    block: int
    place: str
    layers: tuple[str, ...]
    readers: int
    weights: tuple[tuple[str, str | None], ...]
    width: int
    batch_first: bool = True
    heads: int = 0


def sites(
    model: Module, kinds: Sequence[str] = KINDS, numbers: Sequence[int] | None = None
) -> list[Site]:
    """The sites of some kinds in some blocks (None: in all) in the order they run.

    Of a model with a vision tower only this is meant, of one with an encoder and a decoder only
    the encoder; for another part give that part, or a model without the others. Nothing else is
    looked at: with kinds=("mlp",) the attention may be of any kind. Raises ValueError, saying
    which modules there are, if the model has no transformer block or one of these sites cannot be
    taken apart.
    """
    found = []
    for number, (name, block) in enumerate(blocks(model)):
        if numbers is not None and number not in numbers:
            continue
        for kind in (k for k in KINDS if k in kinds):
            site = _site(kind, number, name, block)
            if site is None:
                raise ValueError(_refusal(kind, name, block))
            found.append(site)
    return found


def known_sites(model: Module) -> dict[str, Site]:
    """All sites that can be taken apart, by name; others are passed over.

    Raises ValueError if the model has no transformer block.
    """
    found = (
        _site(kind, number, name, block)
        for number, (name, block) in enumerate(blocks(model))
        for kind in KINDS
    )
    return {site.name: site for site in found if site is not None}


def blocks(model: Module) -> list[tuple[str, Module]]:
    """(name, module) of the transformer blocks: members of a list that have attention and an MLP.

    Of a model with a vision tower or with a decoder see `sites`. Raises ValueError if there are
    none.
    """
    found: list[tuple[str, Module]] = []
    for name, module in model.named_modules():
        inside = bool(found) and name.startswith(f"{found[-1][0]}.")
        signed = all(any(_child(module, s) is not None for s in SIGNS[kind]) for kind in KINDS)
        if name.rpartition(".")[2].isdigit() and signed and not inside:
            found.append((name, module))
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no transformer block with attention and an MLP that this "
            f"library knows: {_listed(model, ('',))}"
        )
    seeing = [(n, m) for n, m in found if set(n.split(".")) & set(VISION)]
    reading = [(n, m) for n, m in found if DECODER not in n.split(".")]
    return seeing or reading or found


def part(model: Module, name: str) -> Module:
    """The module of that dotted name."""
    return model.get_submodule(name)


def replace(model: Module, name: str, module: Module) -> None:
    """Put another module in the place of the one of that dotted name."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def attention_outputs(names: Iterable[str]) -> Iterator[str]:
    """Of names of weights those of the layers that write attention's result."""
    ends = {f".{writer}.weight" for _, writer in LAYOUTS["attention"]} | {".attn.out_proj.weight"}
    return (name for name in names if any(f".{name}".endswith(end) for end in ends))


def _site(kind: str, number: int, name: str, block: Module) -> Site | None:
    """The site of a block, or None if it is of no known layout."""
    if kind == "attention":
        if getattr(block, "window_size", 0):  # its batch is one of windows, not of inputs
            return None
        if isinstance(block.get_submodule(_sign(kind, block)), MultiheadAttention):
            return _of_torch(number, name, _sign(kind, block), block)
    for readers, writer in LAYOUTS[kind]:
        layers = (*readers, writer)
        modules = [_child(block, layer) for layer in layers]
        if all(isinstance(m, Linear) for m in modules):
            full = tuple(f"{name}.{layer}" for layer in layers)
            return Site(
                _common(full),
                kind,
                number,
                name,
                full,
                len(readers),
                tuple(_pair(n, m) for n, m in zip(full, modules, strict=True)),
                modules[0].in_features,
                # open_clip's attention knows in which order it and the MLP get the tokens.
                getattr(getattr(block, "attn", None), "batch_first", True),
            )
    return None


def _of_torch(number: int, name: str, child: str, block: Module) -> Site | None:
    attention, full = block.get_submodule(child), f"{name}.{child}"
    if attention.in_proj_weight is None or attention.bias_k is not None or attention.add_zero_attn:
        return None
    bias = None if attention.in_proj_bias is None else f"{full}.in_proj_bias"
    weights = (f"{full}.in_proj_weight", bias), _pair(f"{full}.out_proj", attention.out_proj)
    return Site(
        full,
        "attention",
        number,
        name,
        (full,),
        1,
        weights,
        attention.embed_dim,
        attention.batch_first,
        attention.num_heads,
    )


def _refusal(kind: str, name: str, block: Module) -> str:
    title, sign = {"attention": "the attention", "mlp": "the MLP"}[kind], _sign(kind, block)
    return (
        f"{title} of {name} ({type(block).__name__}) cannot be made a mixture, because its layout "
        f"is not one that this library knows: {_listed(block, BESIDE.get(sign, (sign,)))}"
    )


def _listed(module: Module, children: Sequence[str]) -> str:
    """The modules without parts of their own in some children, as the end of a sentence."""
    leaves = [
        f"{f'{child}.{name}'.strip('.') or 'itself'} ({type(leaf).__name__})"
        for child in children
        for name, leaf in module.get_submodule(child).named_modules()
        if not any(leaf.children())
    ]
    more = f" and {len(leaves) - SHOWN} more" if len(leaves) > SHOWN else ""
    return f"found {', '.join(leaves[:SHOWN])}{more}"


def _sign(kind: str, block: Module) -> str:
    return next(sign for sign in SIGNS[kind] if _child(block, sign) is not None)


def _child(module: Module, name: str) -> Module | None:
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None


def _common(names: Sequence[str]) -> str:
    """The words with which all dotted names begin."""
    shared = []
    for words in zip(*(name.split(".") for name in names), strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return ".".join(shared)


def _pair(name: str, layer: Linear) -> tuple[str, str | None]:
    return f"{name}.weight", None if layer.bias is None else f"{name}.bias"
