"""Inner products of task vectors, accumulated in float64."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mergelib import passes
from mergelib.parameters import Segment


def gram(deltas: Tensor, segments: Sequence[Segment]) -> Tensor:
    """G[s]_ij = Σ_{p in segment s} deltas_ip · deltas_jp, as (n, K, K) float64.

    `deltas` is (K, P). One pass over it in pieces; products and sums are float64, no float64
    copy of more than a piece exists, and the result does not depend on the number of cores.
    """
    device = deltas.device
    pieces = [
        (index, piece)
        for index, segment in enumerate(segments)
        for place in segment.slices
        for piece in passes.columns(place.stop - place.start, device, place.start)
    ]

    tasks = deltas.shape[0]

    def products(batch: Sequence[tuple[int, slice]]) -> Iterator[Tensor]:
        widest = max(piece.stop - piece.start for _, piece in batch)
        buffer = torch.empty(tasks, widest, dtype=torch.float64, device=device)
        for _, piece in batch:
            part = buffer[:, : piece.stop - piece.start].copy_(deltas[:, piece])
            yield part @ part.T

    result = torch.zeros(len(segments), tasks, tasks, dtype=torch.float64)
    if pieces:
        products = torch.stack(passes.run(products, pieces, device)).cpu()
        result.index_add_(0, torch.tensor([index for index, _ in pieces]), products)
    return ((result + result.mT) / 2).to(device)
