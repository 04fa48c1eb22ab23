"""What a transformer computes with its weights: multiply-adds of an input of T tokens.

Each weight of a block is used T times, each of a patches' filter once a patch, what is looked up
or added never, and all other matrices once (projections, poolers and heads of the pooled
features); attention adds 2 T² d a block, queries with keys and shares with values. Norms,
activations and sums are not counted.
"""

from collections.abc import Container, Mapping

import torch
from torch import Tensor

from mergelib.models.embeddings import FIRST, NEXT, POSITIONS, extra_tokens, last_word, lookups
from mergelib.models.sites import attention_outputs


def encoder_products(model: torch.nn.Module, tokens: int | None = None) -> int:
    """Multiply-adds of a plain transformer for an input of `tokens` real tokens (default: as many
    as a vision transformer has positions). Raises ValueError as `positions` does."""
    weights = dict(model.named_parameters())
    return products(weights, lookups(model), positions(weights) if tokens is None else tokens)


def products(weights: Mapping[str, Tensor], looked_up: Container[str], tokens: int) -> int:
    """The same from the tensors by name; `looked_up` names the tables of embeddings."""
    total = sum(uses(name, weights, looked_up, tokens) * t.numel() for name, t in weights.items())
    widths = [weights[name].shape[1] for name in attention_outputs(weights)]
    return total + sum(2 * tokens**2 * width for width in widths)


def uses(name: str, weights: Mapping[str, Tensor], looked_up: Container[str], tokens: int) -> int:
    """How often each number of a tensor is multiplied for an input of `tokens` tokens."""
    dimensions = weights[name].dim()
    if dimensions < 2 or name in looked_up or last_word(name) in FIRST + NEXT + POSITIONS:
        return 0
    if dimensions == 4:
        return tokens - extra_tokens(weights)
    in_block = any(word.isdigit() for word in name.split("."))
    return tokens if in_block else 1


def positions(weights: Mapping[str, Tensor]) -> int:
    """How many tokens a vision transformer has, from its table of positions.

    Raises ValueError if there is not one table, or for a model that does not see images, whose
    inputs are of any number of tokens.
    """
    tables = [t for n, t in weights.items() if t.dim() > 1 and last_word(n) in POSITIONS]
    if len(tables) != 1:
        raise ValueError(
            f"multiply-adds are counted of a vision transformer with one table of positions, and "
            f"the model has {len(tables)}: of another say how many tokens an input has"
        )
    if not any(t.dim() == 4 for t in weights.values()):
        raise ValueError(
            "multiply-adds of a model that does not see images depend on its inputs: say how many "
            "tokens one has"
        )
    return tables[0].shape[-2]
