"""Where task vectors lie: lengths and angles, as a whole, by depth and by kind of tensor."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib import merging
from mergelib.vectors.layout import Layout
from mergelib.vectors.task_vectors import TaskVectors


def by_depth(tv: TaskVectors) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names of the n blocks, ‖τ_k‖ in each (n, K), cosines in each (n, K, K), float64."""
    names = [name for name, _ in tv.layout.segments("block")]
    gram = tv.gram(by="block").cpu()
    norms = torch.diagonal(gram, dim1=1, dim2=2).clamp(min=0).sqrt()
    return names, norms.numpy(), tv.cosines(by="block").cpu().numpy()


def off_diagonal(cosines) -> np.ndarray:
    """The K(K−1)/2 values above the diagonal of a symmetric (K, K) matrix."""
    values = np.asarray(cosines)
    return values[np.triu_indices(len(values), 1)]


def closest_pair(cosines, tasks) -> str:
    """The two tasks with the largest cosine, as "a and b"."""
    values = np.triu(np.asarray(cosines), 1)
    i, j = np.unravel_index(np.argmax(values), values.shape)
    return f"{tasks[i]} and {tasks[j]}"


def seen_at_right_angles(points, alpha: float = 1e-3) -> np.ndarray:
    """The point (D,) near the origin from which the points (K, D) are seen at right angles, or as
    nearly as there is one: AWD's δ at a small α."""
    deltas = torch.as_tensor(points, dtype=torch.float64)
    layout = Layout.from_state({"points": torch.zeros(deltas.shape[1])})
    names = [f"point {i}" for i in range(len(deltas))]
    tv = TaskVectors(names, torch.zeros_like(deltas[0]), deltas, layout)
    return merging.awd(tv, alpha=alpha).redundant.numpy()


def redundant_share(tv: TaskVectors, redundant: torch.Tensor) -> tuple[list[str], np.ndarray]:
    """Names of the n blocks and ‖δ‖ / mean_k ‖τ_k‖ in each, (n,)."""
    names = [name for name, _ in tv.layout.segments("block")]
    shared = TaskVectors(["δ"], tv.base, redundant.unsqueeze(0), tv.layout)
    share = shared.norms(by="block")[:, 0] / tv.norms(by="block").mean(1)
    return names, share.cpu().numpy()


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
