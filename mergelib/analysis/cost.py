"""What a model costs: multiply-adds of an image, numbers stored and in memory, bytes of its file,
seconds.

Of a vision transformer with T tokens of width d, each weight of a block is used T times an image,
each of the patches' filter T − 1 times, each of the last projection once; attention adds 2 T² d a
block, queries with keys and shares with values. Norms, activations and sums are not counted. The
count is of products in float32: in bfloat16 a mixed layer makes x W0ᵀ a product of its own beside
x (Σ_k λ_k D_k)ᵀ, which doubles its products.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file
from torch import Tensor

from mergelib.analysis.comparison import means
from mergelib.analysis.result import Result
from mergelib.evaluation import encode
from mergelib.mixtures.files import save_mixture
from mergelib.mixtures.model import Mixture
from mergelib.mixtures.router import Router
from mergelib.mixtures.twin.exclusive import Exclusive
from mergelib.mixtures.twin.file import save_twin
from mergelib.mixtures.twin.model import CLASS_TOKENS, POSITIONS, TwinModel

WORD = 4  # bytes of a float32


def multiply_adds(model: torch.nn.Module) -> dict[str, int]:
    """Multiply-adds of one image by what they are for: products, mixing, routing.

    `products`: with weights, and of attention; a Twin model makes two passes of them. `mixing`:
    of a mixture K · P_mixed where it mixes weights (zeros of pruned task vectors are multiplied,
    too) and T · K · P_mixed where it mixes outputs; of a Twin model the low-rank products.
    `routing`: the routers. The model is an encoder, a Mixture or a TwinModel; raises ValueError
    if it is no vision transformer with one table of positions.
    """
    weights = _weights(model)
    mixing = routing = 0
    products = _products(weights)
    if isinstance(model, Mixture):
        tokens, tasks = _tokens(weights), len(model.plan.tasks)
        for _, _, layer in model.named_layers():
            size, biases = layer.weight.numel(), len(layer.weight)
            if layer.chosen(tokens) == "weights":
                mixing += tasks * (size + biases)
            else:
                mixing += tasks * (tokens * (size + biases) + biases)
        routing = sum(_of_router(part.gate.router, tokens) for part in model.parts)
    elif isinstance(model, TwinModel):
        products *= 2
        mixing = _of_exclusive(model.exclusive, weights)
        layers = [m for m in model.router.layers if isinstance(m, torch.nn.Linear)]
        routing = sum(m.weight.numel() for m in layers)
    return {"products": products, "mixing": mixing, "routing": routing}


def costs(
    models: Mapping[str, torch.nn.Module], copies: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """One row a model: stored, resident, trainable, multiply-adds, file.

    `stored`: numbers that are not zeros of a sparse tensor; `resident`: memory of all tensors in
    units of four bytes, so that the place of a sparse number counts as one, too; `trainable`:
    numbers in routers; `multiply-adds`: of an image (multiply_adds); `file`: bytes as written, in
    float32. `copies` says of how many such models a method consists, of which one runs.
    """
    rows = {}
    for name, model in models.items():
        many = (copies or {}).get(name, 1)
        sizes = _sizes(model)
        tensors = [*model.parameters(), *model.buffers()]
        rows[name] = {
            "stored": many * sizes["total"],
            "resident": many * sum(t.numel() * t.element_size() for t in tensors) // WORD,
            "trainable": many * sizes["trainable"],
            "multiply-adds": sum(multiply_adds(model).values()),
            "file": many * file_bytes(model),
        }
    return pd.DataFrame(rows).T.rename_axis("method")


def file_bytes(model: torch.nn.Module) -> int:
    """The size of the safetensors file of an encoder, a Mixture or a TwinModel, in float32; the
    file is written to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        if isinstance(model, Mixture):
            save_mixture(model, path)
        elif isinstance(model, TwinModel):
            save_twin(model, path)
        else:
            state = model.state_dict()
            save_file({n: t.detach().cpu().contiguous() for n, t in state.items()}, path)
        return path.stat().st_size


def latencies(
    models: Mapping[str, torch.nn.Module],
    size: int,
    batches: Sequence[int] = (1, 64),
    repeats: int = 5,
    copies: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Milliseconds an image, a row a model, a column "batch n" each: medians of `repeats` runs.

    Images of noise, size × size, from pixels to features as `encode` does it. The models take
    turns, so that what else the machine does falls on all; a first run is not counted. Of a
    method of several `copies` a batch of n falls into as many of n / copies images, one each.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (max(batches), 3, size, size)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(repeats + 1):
        for name, model in models.items():
            for batch in batches:
                each = max(1, batch // (copies or {}).get(name, 1))
                start = time.perf_counter()
                encode(model, images[:batch], batch=each).cpu()
                spent = time.perf_counter() - start
                if turn:
                    seconds.setdefault((name, batch), []).append(spent / batch)
    rows = {
        name: {f"batch {b}": 1000 * statistics.median(seconds[name, b]) for b in batches}
        for name in models
    }
    return pd.DataFrame(rows).T.rename_axis("method")


def by_cost(
    results: Mapping[str, Result], spent: pd.DataFrame, rows: Mapping[str, str]
) -> pd.DataFrame:
    """One row a method: mean accuracy with its 95 % interval, and the costs of its model.

    `spent` is a table of `costs`; `rows` says in which of its rows a method's costs stand (default:
    in that of its own key).
    """
    found = means(results, "method").set_index("method")
    own = spent.loc[[rows.get(key, key) for key in found.index]]
    return found.join(own.set_axis(found.index))


def frontier(table: pd.DataFrame, cost: str, gain: str = "accuracy") -> pd.DataFrame:
    """The rows of a table of methods that no other beats, by rising cost: none of the others has
    both at most their `cost` and at least their `gain`, of one of the two strictly so."""
    best, kept = -float("inf"), []
    for label, row in table.sort_values([cost, gain], ascending=[True, False]).iterrows():
        if row[gain] > best:
            best = row[gain]
            kept.append(label)
    return table.loc[kept]


def _sizes(model: torch.nn.Module) -> dict[str, int]:
    if isinstance(model, Mixture | TwinModel):
        return model.sizes()
    return {"trainable": 0, "total": sum(t.numel() for t in model.parameters())}


def _weights(model: torch.nn.Module) -> dict[str, Tensor]:
    """The tensors of one pass under the encoder's own names."""
    if isinstance(model, TwinModel):
        return model.shared_state()
    if not isinstance(model, Mixture):
        return dict(model.named_parameters())
    mixed = {name: layer.weight for name, _, layer in model.named_layers()}
    return {**model.encoder_state(), **mixed}


def _products(weights: Mapping[str, Tensor]) -> int:
    tokens = _tokens(weights)
    attention = [len(t) for n, t in weights.items() if n.endswith("out_proj.weight")]
    uses = sum(_uses(name, weights) * t.numel() for name, t in weights.items())
    return uses + sum(2 * tokens**2 * width for width in attention)


def _uses(name: str, weights: Mapping[str, Tensor]) -> int:
    """How often each number of a tensor is multiplied for an image."""
    dimensions = weights[name].dim()
    if dimensions < 2 or _embeds(name, CLASS_TOKENS + POSITIONS):
        return 0
    if dimensions == 4:
        return _tokens(weights) - 1
    in_block = any(word.isdigit() for word in name.split("."))
    return _tokens(weights) if in_block else 1


def _tokens(weights: Mapping[str, Tensor]) -> int:
    tables = [t for n, t in weights.items() if t.dim() == 2 and _embeds(n, POSITIONS)]
    if len(tables) != 1:
        raise ValueError(
            f"multiply-adds are counted of a vision transformer with one table of positions, and "
            f"the model has {len(tables)}"
        )
    return len(tables[0])


def _embeds(name: str, words: Sequence[str]) -> bool:
    return name.removesuffix(".weight").split(".")[-1] in words


def _of_exclusive(exclusive: Exclusive, weights: Mapping[str, Tensor]) -> int:
    """x V_kᵀ and (·) U_kᵀ wherever the weight is used, and Σ_k c_k e_k of vectors."""
    total = 0
    for key, tensor in exclusive.tensors().items():
        kind, _, name = key.partition("/")
        if kind == "vectors":
            total += tensor.numel()
        elif _embeds(name, POSITIONS):  # U_k V_k is formed, T rows of it
            total += tensor.numel() * _tokens(weights) if kind == "right" else 0
        else:
            total += tensor.numel() * _uses(name, weights)
    return total


def _of_router(router: Router, tokens: int) -> int:
    if router.depth == 0:
        return 0
    hidden = 0
    if router.depth == 2:
        hidden = router.hidden_weight.numel() * (tokens if router.average == "outputs" else 1)
    return hidden + router.weight.numel()
