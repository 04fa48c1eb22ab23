"""Which tensors of a model can be mixed for every input, and by which modules."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

import torch

from mergelib.mixtures.twin import mixed
from mergelib.mixtures.twin.front import Rows, front_rows
from mergelib.models.embeddings import FIRST, NEXT, POSITIONS, PROJECTIONS, last_word
from mergelib.models.sites import blocks, known_sites


@dataclass(frozen=True)
class Places:
    """`modules`: by name what mixes a module and its tensors' names, by what it calls them;
    `rows`: bare parameters, whose differences are added before the module `gate`. `first` and
    `last` block; `width` and `batch_first` of the tokens between blocks. `alias`: the name by
    which a tied tensor is known, for each of its names.
    """

    modules: dict[str, tuple[type[mixed.Mixed], dict[str, str]]]
    rows: list[Rows]
    gate: str
    first: str
    last: str
    width: int
    batch_first: bool
    alias: dict[str, str]

    def names(self) -> set[str]:
        """The tensors that can be mixed, tied ones once."""
        inside = {name for _, names in self.modules.values() for name in names.values()}
        return inside | {rows.name for rows in self.rows}

    def in_blocks(self, name: str) -> bool:
        """Whether a module is in one of the blocks, or beside them in their list."""
        return name.startswith(f"{self.first.rpartition('.')[0]}.")


def places(model: torch.nn.Module) -> Places:
    """Where a model can be mixed. Raises ValueError if it has no block that can be taken apart."""
    found = [name for name, _ in blocks(model)]
    site = next(iter(known_sites(model).values()), None)
    if site is None:
        raise ValueError(
            f"{type(model).__name__} has no block of a known layout, so that the width of its "
            "tokens is not known"
        )
    first_name: dict[int, str] = {}
    alias = {
        name: first_name.setdefault(id(tensor), name)
        for name, tensor in model.named_parameters(remove_duplicate=False)
    }
    modules: dict[str, tuple[type[mixed.Mixed], dict[str, str]]] = {}
    before, gate, closed = True, found[0], []
    for name, module in model.named_modules(remove_duplicate=False):
        before = before and not name.startswith(f"{found[0]}")
        if any(name.startswith(f"{other}.") for other in closed):
            continue
        kind = next((kind for kind, fits in KINDS if fits(name, module)), None)
        if isinstance(module, torch.nn.MultiheadAttention):
            closed.append(name)  # torch computes with the weights of its parts, not with them
        if kind is None:
            continue
        own = [n for n, _ in module.named_parameters()]
        modules[name] = kind, {n: alias[f"{name}.{n}"] for n in own}
        if kind is mixed.MixedNorm and before and "patch" not in name:
            gate = name
    for name, parameter in model.named_parameters():
        if last_word(name) in PROJECTIONS and parameter.dim() == 2 and not name.endswith(".weight"):
            modules[name] = mixed.MixedProjection, {"inner": alias[name]}
    cut = any(hasattr(module, "context_length") for module in model.modules())
    near = {n: _shared_words(n, found[0]) for n, _ in model.named_parameters() if _in_front(n)}
    nearest = {n for n, count in near.items() if count == max(near.values())}  # not another tower's
    rows = front_rows({n: t for n, t in model.named_parameters() if n in nearest}, cut)
    return Places(modules, rows, gate, found[0], found[-1], site.width, site.batch_first, alias)


def _in_front(name: str) -> bool:
    return last_word(name) in FIRST + NEXT + POSITIONS and not name.endswith(".weight")


def _shared_words(one: str, other: str) -> int:
    """With how many words both dotted names begin."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _attention(name: str, module: torch.nn.Module) -> bool:
    plain = isinstance(module, torch.nn.MultiheadAttention) and module.in_proj_weight is not None
    in_block = any(word.isdigit() for word in name.split("."))
    return plain and in_block and module.bias_k is None and not module.add_zero_attn


def _linear(name: str, module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear)


def _conv(name: str, module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Conv2d) and module.groups == 1


def _table(name: str, module: torch.nn.Module) -> bool:
    # Relative positions are looked up for pairs of tokens, once for all inputs.
    return isinstance(module, torch.nn.Embedding) and "relative" not in name


def _norm(name: str, module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.LayerNorm)


def _vectors(module: torch.nn.Module) -> list[str]:
    """The names of its parameters, if they are all vectors of its own."""
    own = dict(module.named_parameters())
    return list(own) if all(t.dim() == 1 and "." not in n for n, t in own.items()) else []


def _rms(name: str, module: torch.nn.Module) -> bool:
    epsilon = hasattr(module, "variance_epsilon") or hasattr(module, "eps")
    return _vectors(module) == ["weight"] and epsilon


def _scale(name: str, module: torch.nn.Module) -> bool:
    return _vectors(module) in (["gamma"], ["lambda1"])


KINDS: tuple[tuple[type[mixed.Mixed], Callable[[str, torch.nn.Module], bool]], ...] = (
    (mixed.MixedAttention, _attention),
    (mixed.MixedLinear, _linear),
    (mixed.MixedConv, _conv),
    (mixed.MixedEmbedding, _table),
    (mixed.MixedNorm, _norm),
    (mixed.MixedRms, _rms),
    (mixed.MixedScale, _scale),
)
