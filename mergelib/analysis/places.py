"""Where in the network something is: numbers of tensors arranged by depth and by kind."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from mergelib.parameters import Layout


def places(layout: Layout) -> pd.DataFrame:
    """One row a tensor, in the layout's order: tensor, block, kind, weights (how many).

    `block` is the last part of its group's name in `layout.segments("block")` ("embeddings", "0",
    "1", …, "head"); `kind` is what a tensor is called inside its block ("attn.out_proj.weight"),
    outside of the residual blocks its whole name.
    """
    groups = [(s.name, place) for s in layout.segments("block") for place in s.slices]
    rows = []
    for name, start, stop in zip(layout.names, layout.offsets, layout.offsets[1:], strict=False):
        inside = (g for g, p in groups if p.start <= start and stop <= p.stop)
        block = next(inside)
        kind = name.removeprefix(f"{block}.")
        rows.append([name, block.rpartition(".")[2], kind, stop - start])
    return pd.DataFrame(rows, columns=["tensor", "block", "kind", "weights"])


def blocks_in_order(layout: Layout) -> list[str]:
    """The blocks of `places`, from the input to the output."""
    return [s.name.rpartition(".")[2] for s in layout.segments("block")]


def by_block(layout: Layout, table: pd.DataFrame) -> pd.DataFrame:
    """Of one number a task and tensor (K rows, columns as the layout's names) the means over the
    tensors of each block: K rows, one column a block in order of depth."""
    block = places(layout)["block"].to_numpy()
    return table.T.groupby(block).mean().T[blocks_in_order(layout)]


def by_kind(layout: Layout, values: Sequence[float] | pd.Series) -> pd.DataFrame:
    """One number a tensor arranged by kind (rows, sorted) and residual block (columns).

    Only tensors inside residual blocks are in it; NaN where a block has no tensor of a kind.
    """
    table = places(layout).assign(value=np.asarray(values, dtype=float))
    inside = table[table["tensor"] != table["kind"]]
    columns = [b for b in blocks_in_order(layout) if b in set(inside["block"])]
    return inside.pivot_table("value", "kind", "block", aggfunc="mean")[columns]


def tensor_means(layout: Layout, vector: Tensor) -> pd.Series:
    """The mean of a (P,) vector over each tensor, float64; index: the layout's names."""
    means = [part.double().mean().item() for part in vector.split(layout.sizes)]
    return pd.Series(means, layout.names)
