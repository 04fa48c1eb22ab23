"""What a model costs: multiply-adds of an input, numbers stored and in memory, bytes of its file,
seconds.

mergelib.models.products says what is counted; mixtures and Twin models say themselves what they
add to it. The count is of products in float32: in bfloat16 a mixed layer makes x W0ᵀ a product of
its own beside x (Σ_k λ_k D_k)ᵀ, which doubles its products.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import save_file

from mergelib.analysis.comparison import means
from mergelib.analysis.result import Result
from mergelib.evaluation import encode
from mergelib.models.inputs import Tokens
from mergelib.models.products import encoder_products
from mergelib.suites.suite import Suite
from mergelib.workbench import Workbench

WORD = 4  # bytes of a float32


def multiply_adds(model: torch.nn.Module, tokens: int | None = None) -> dict[str, int]:
    """Multiply-adds of one input by what they are for: products, mixing, routing.

    `products`: with weights, and of attention; `mixing` and `routing`: see Mixture.cost and
    TwinModel.cost; a plain encoder has none. The input is of `tokens` real tokens, by default
    those of a vision transformer; raises ValueError for another model without that number.
    """
    if hasattr(model, "cost"):
        return model.cost(tokens)
    return {"products": encoder_products(model, tokens), "mixing": 0, "routing": 0}


def costs(
    models: Mapping[str, torch.nn.Module],
    copies: Mapping[str, int] | None = None,
    tokens: int | None = None,
) -> pd.DataFrame:
    """One row a model: stored, resident, trainable, multiply-adds, file.

    stored         numbers; of a sparse tensor only those that it keeps
    resident       memory of all tensors in units of four bytes: beside each number that a sparse
                   tensor keeps stands its place, which counts as much
    trainable      numbers in routers
    multiply-adds  for an input of `tokens` real tokens (`multiply_adds`)
    file           bytes as written, in float32

    A method that keeps several such models, of which one runs for each input, says in `copies`
    (method → number) how many.
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
            "multiply-adds": sum(multiply_adds(model, tokens).values()),
            "file": many * file_bytes(model),
        }
    return pd.DataFrame(rows).T.rename_axis("method")


def mean_tokens(suite: Suite) -> int | None:
    """How many real tokens a test input has on average, each task counted alike, rounded; None for
    images, whose number of tokens is the encoder's."""
    lengths = [
        float(task.test.inputs.mask.sum(1).double().mean())
        for task in suite
        if isinstance(task.test.inputs, Tokens)
    ]
    return round(sum(lengths) / len(lengths)) if lengths else None


def file_bytes(model: torch.nn.Module) -> int:
    """The size of the safetensors file of an encoder, a Mixture or a TwinModel, in float32; the
    file is written to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        if hasattr(model, "save"):
            model.save(path)
        else:
            state = model.state_dict()
            save_file({n: t.detach().cpu().contiguous() for n, t in state.items()}, path)
        return path.stat().st_size


def latencies(
    bench: Workbench,
    models: Mapping[str, torch.nn.Module],
    batches: Sequence[int] = (1, 64),
    repeats: int = 5,
    copies: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """Milliseconds an input, a row a model, a column "batch n" each: medians of `repeats` runs.

    What is timed is `encode`, on inputs of noise of the kind and size of the bench's. The models
    take turns, so that whatever else the machine does slows all of them, and the first turn is not
    counted. A method that keeps several `copies` of a model shares a batch of n out among them:
    each copy encodes n / copies inputs.
    """
    some = next(iter(bench.suite)).test.inputs
    inputs = some.noise(max(batches), torch.Generator().manual_seed(0))
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(repeats + 1):
        for name, model in models.items():
            for batch in batches:
                each = max(1, batch // (copies or {}).get(name, 1))
                start = time.perf_counter()
                encode(model, inputs[:batch], batch=each, precision=bench.precision).cpu()
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
    """The rows of a table of methods that no other row beats, by rising `cost`.

    One row beats another if its `cost` is not higher and its `gain` not lower, and one of the two
    is better. Of rows that are equal in both the first is kept.
    """
    best, kept = -float("inf"), []
    for label, row in table.sort_values([cost, gain], ascending=[True, False]).iterrows():
        if row[gain] > best:
            best = row[gain]
            kept.append(label)
    return table.loc[kept]


def _sizes(model: torch.nn.Module) -> dict[str, int]:
    if hasattr(model, "sizes"):
        return model.sizes()
    return {"trainable": 0, "total": sum(t.numel() for t in model.parameters())}
