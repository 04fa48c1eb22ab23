"""The outcome of a method: which inputs its model got right. All numbers follow from that.

Tables, means, intervals and paired differences are derived from a `Result`; a chapter records it
with `stored`, and later chapters read it with `restored`.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mergelib.evaluation import accuracy_row
from mergelib.intervals import mean_interval


@dataclass(frozen=True, eq=False)
class Result:
    """What a method came to.

    right  task → which of the n inputs were answered rightly: bool, (n,), or (S, n) for a random
           method that was run with S seeds
    scale  the λ that was chosen on val; None for a method without one
    sweep  the accuracies on val that it was chosen by, a row a λ and a column a task; None where
           nothing was chosen
    """

    right: Mapping[str, Tensor]
    scale: float | None = None
    sweep: pd.DataFrame | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One row a task: task, n, correct, accuracy, low, high (Wilson 95 %).

        Of several seeds all but task and n are means over the seeds.
        """
        tables = [_table(one) for one in self._each()]
        if len(tables) == 1:
            return tables[0]
        columns = ["correct", "accuracy", "low", "high"]
        return tables[0].assign(**sum(table[columns] for table in tables) / len(tables))

    @property
    def mean(self) -> float:
        """The mean accuracy over the tasks."""
        return mean_interval(self.table)[0]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval (low, high) of the mean accuracy, over draws of the test inputs."""
        return mean_interval(self.table)[1:]

    @property
    def deviation(self) -> float:
        """The standard deviation of the mean accuracy over the seeds; 0 for a single one."""
        return float(np.std([_table(one)["accuracy"].mean() for one in self._each()]))

    @property
    def by_task(self) -> dict[str, float]:
        """The accuracy of each task."""
        table = self.table
        return dict(zip(table["task"], table["accuracy"], strict=True))

    def only(self, *tasks: str) -> "Result":
        """The same outcome on some of the tasks."""
        return Result({task: self.right[task] for task in tasks}, self.scale, self.sweep)

    def first(self, n: int) -> "Result":
        """The same outcome on the first n inputs of each task."""
        right = {task: right[..., :n] for task, right in self.right.items()}
        return Result(right, self.scale, self.sweep)

    def _each(self) -> list[dict[str, Tensor]]:
        """`right` of each seed by itself: (n,) a task."""
        rows = {task: right.reshape(-1, right.shape[-1]) for task, right in self.right.items()}
        count = max(len(right) for right in rows.values())
        return [{task: right[s] for task, right in rows.items()} for s in range(count)]


def _table(right: Mapping[str, Tensor]) -> pd.DataFrame:
    return pd.DataFrame([accuracy_row(*item) for item in right.items()])


def stored(results: Mapping[str, Result]) -> dict[str, dict]:
    """Results as plain numbers and text, for `study.record`; `restored` is the way back.

    A list of tasks: n, seeds (None without), correct (of all seeds together) and `bits`, which
    inputs are right: eight a byte, the first input in the highest bit, in base 64.
    """
    return {key: _stored(result) for key, result in results.items()}


def _stored(result: Result) -> dict:
    tasks = []
    for task, right in result.right.items():
        bits = np.packbits(right.cpu().numpy().ravel()).tobytes()
        seeds = len(right) if right.dim() == 2 else None
        row = {"task": task, "n": right.shape[-1], "seeds": seeds, "correct": int(right.sum())}
        tasks.append({**row, "bits": base64.b64encode(bits).decode("ascii")})
    sweep = None if result.sweep is None else result.sweep.to_dict("split")
    return {"scale": result.scale, "sweep": sweep, "tasks": tasks}


def restored(records: Mapping[str, Mapping]) -> dict[str, Result]:
    """The results that an earlier chapter `stored`.

    Raises ValueError naming method and task where the bits are not as many as the record says.
    """
    return {key: _restored(key, record) for key, record in records.items()}


def _restored(key: str, record: Mapping) -> Result:
    right = {}
    for row in record["tasks"]:
        seeds, n = row["seeds"] or 1, row["n"]
        packed = np.frombuffer(base64.b64decode(row["bits"]), np.uint8)
        bits = np.unpackbits(packed)[: seeds * n].astype(bool)
        if (len(bits), bits.sum()) != (seeds * n, row["correct"]):
            raise ValueError(
                f"{key} on {row['task']}: {row['correct']} of {seeds * n} inputs should be right, "
                f"and the bits of the record have {bits.sum()} of {len(bits)}"
            )
        found = torch.from_numpy(bits).view(seeds, n)
        right[row["task"]] = found if row["seeds"] else found[0]
    sweep = record["sweep"]
    if sweep is not None:
        sweep = pd.DataFrame(**sweep).rename_axis("scale")
    return Result(right, record["scale"], sweep)
