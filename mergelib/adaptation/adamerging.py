"""AdaMerging: coefficients of task vectors, learnt on unlabelled inputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.bench import AnyBench, Classifier, on_weights, prepared, run_recipe
from mergelib.adaptation.combination import Combination
from mergelib.adaptation.learning import Learning, Watching, settled
from mergelib.adaptation.loop import Adapted, adapt
from mergelib.adaptation.weights import WeightLearner
from mergelib.merging.ties import ties_split
from mergelib.methods.entry import method
from mergelib.vectors.task_vectors import TaskVectors

Bounds = tuple[float, float]


@dataclass(frozen=True)
class AdaMerged(Adapted):
    """What AdaMerging found: the record of the run, and

    `coefficients` λ (K, n) as used (clamped, if they are), `path` (steps + 1, K, n): the same
    before each step and at the end, `merged` (P,), the names of tasks and groups.
    """

    tasks: tuple[str, ...]
    groups: tuple[str, ...]
    coefficients: Tensor
    path: Tensor
    merged: Tensor

    def table(self) -> pd.DataFrame:
        """The coefficients, one row a task, one column a group."""
        return pd.DataFrame(self.coefficients.cpu().numpy(), self.tasks, self.groups)


@method(
    title="AdaMerging",
    family="adaptive",
    paper="yang2024adamerging",
    needs="unlabelled inputs, sorted by task",
    published={"steps": 500, "lr": 1e-3, "batch": 16, "init": 0.3, "split": "test"},
)
def adamerging(
    bench: AnyBench,
    tv: TaskVectors,
    by: str = "tensor",
    init: float = 0.3,
    clamp: Bounds | None = None,
    density: float | None = None,
    learning: Learning = Learning(steps=500, lr=1e-3, batch=16),
    **settings: object,
) -> AdaMerged:
    """θ = θ0 + Σ_k λ_k[s] τ_k with the λ that minimise the summed entropy of the predictions.

    Yang et al. 2024, "AdaMerging", section 3.2. by="task": one λ a task, (K, 1); by="tensor": one
    a task and tensor, what the paper calls layer-wise; by="block": one a task and residual block.
    All begin at `init`. `clamp`, say (0, 1), bounds λ where it is used, as the authors' code does:
    outside the bounds its gradient is zero.

    With a `density` this is AdaMerging++, on the trimmed and sign-elected vectors of TIES
    (ties_split; published with 0.2).

    `bench` is a Bench, a workbench or (encoder, heads, suite); `tv` any task vectors of its model,
    say `awd(bench.tv)`. Labels are not used. `settings` are single fields of Learning and Watching
    by name; their `evaluate` is here a function of weights (P,) to a table, say `bench.evaluate`.

    Raises ValueError for another `by`, bounds out of order or a number that is not finite,
    CheckpointError for task vectors of another model, KeyError for those of a task that the bench
    lacks, and what `adapt` raises.
    """
    learning, watching = settled("adamerging", settings, learning, Watching())
    if density is not None:
        tv = ties_split(tv, density)
    bench, streams, watching = prepared(bench, tv, learning, watching)
    learner = AdaMergingLearner(tv, Classifier(bench), by, init, clamp)
    recipe = {
        "method": "adamerging",
        "by": by,
        "init": init,
        "clamp": clamp,
        "density": density,
        **run_recipe(tv, learning, watching),
    }
    watching = replace(
        watching,
        evaluate=on_weights(watching.evaluate, learner.merged),
        title=watching.title or f"AdaMerging{'' if density is None else '++'}, {by}",
    )
    record = adapt(learner, streams, learning=learning, watching=watching, recipe=recipe)
    return AdaMerged(
        **vars(record),
        tasks=tv.tasks,
        groups=learner.combination.groups,
        coefficients=learner.coefficients().detach().clone(),
        path=learner.path(),
        merged=learner.merged(),
    )


class AdaMergingLearner(WeightLearner):
    """Learns λ (K, n), `trainable["coefficients"]`, with a `mask` (P,) that stays as it is."""

    def __init__(
        self,
        tv: TaskVectors,
        classify: Callable,
        by: str = "tensor",
        init: float = 0.3,
        clamp: Bounds | None = None,
        mask: Tensor | None = None,
    ) -> None:
        self.combination, self.clamp, self.mask = Combination(tv, by), check_bounds(clamp), mask
        raw = initial_coefficients(tv, self.combination, init).requires_grad_()
        self._passed: list[Tensor] = []
        super().__init__({"coefficients": raw}, self._form, classify, tv.layout, tv.base)

    def coefficients(self) -> Tensor:
        """λ as it is used."""
        raw = self.trainable["coefficients"]
        return raw if self.clamp is None else raw.clamp(*self.clamp)

    def path(self) -> Tensor:
        """λ before each step so far, and now: (steps + 1, K, n)."""
        return torch.stack([*self._passed, self.coefficients().detach()])

    def prepare(self, step: int, observe: Callable[[int], None]) -> None:
        self._passed.append(self.coefficients().detach().clone())

    def state(self) -> dict:
        return {"passed": list(self._passed)}

    def restore(self, state: dict) -> None:
        self._passed = list(state["passed"])

    def _form(self, out: Tensor | None) -> Tensor:
        return self.combination(self.coefficients(), self.mask, out)

    @torch.no_grad()
    def merged(self) -> Tensor:
        """The weights (P,) with the present coefficients, in memory of their own."""
        return self._form(None)


def initial_coefficients(tv: TaskVectors, combination: Combination, init: float) -> Tensor:
    """(K, n) numbers `init`; ValueError unless it is finite."""
    if not abs(init) < float("inf"):
        raise ValueError(f"init must be finite, not {init}")
    return tv.base.new_full((len(tv), len(combination.groups)), init)


def check_bounds(clamp: Bounds | None) -> Bounds | None:
    """The bounds, if there are none or they are in order; else ValueError."""
    if clamp is not None and not clamp[0] < clamp[1]:
        raise ValueError(f"clamp must be (low, high) with low < high, not {clamp}")
    return clamp
