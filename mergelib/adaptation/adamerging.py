"""AdaMerging: coefficients of task vectors, learnt on unlabelled inputs."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from mergelib.adaptation.bench import Bench, fingerprint, inputs_and_model, on_weights
from mergelib.adaptation.combination import Combination
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
    needs="unlabelled inputs",
)
def adamerging(
    bench: Bench,
    tv: TaskVectors,
    by: str = "tensor",
    init: float = 0.3,
    lr: float = 1e-3,
    steps: int = 500,
    batch: int = 16,
    clamp: Bounds | None = None,
    split: str = "val",
    plus_plus: bool = False,
    density: float = 0.2,
    seed: int = 0,
    **options,
) -> AdaMerged:
    """θ = θ0 + Σ_k λ_k[s] τ_k with the λ that minimise the summed entropy of the predictions.

    Yang et al. 2024, "AdaMerging", section 3.2. by="task": one λ a task, (K, 1); by="tensor": one
    a task and tensor, what the paper calls layer-wise; by="block": one a task and residual block.
    All begin at `init`; Adam at rate `lr`. `clamp`, say (0, 1), bounds λ where it is used, as
    the authors' code does: outside the bounds its gradient is zero.

    `plus_plus`: AdaMerging++, on the trimmed and sign-elected vectors of TIES (`density`).

    `bench` is a workbench or (encoder, heads, suite); `tv` any task vectors of its encoder, say
    `awd(bench.tv)`. split="val" adapts on other inputs than those reported on, "test" on those
    themselves. Labels are not used. `options` are those of `adapt`: progress, checkpoint,
    save_every, every, and `evaluate`, here a function of weights (P,) to a table, say
    `bench.evaluate`.

    Raises ValueError for another `by`, bounds out of order, a number that is not finite or
    task vectors of a task that the suite lacks (KeyError), and what `adapt` raises.
    """
    if plus_plus:
        tv = ties_split(tv, density)
    streams, classify = inputs_and_model(bench, tv.tasks, split, seed)
    learner = AdaMergingLearner(tv, classify, by, init, clamp)
    recipe = {
        "method": "adamerging",
        "by": by,
        "init": init,
        "clamp": clamp,
        "split": split,
        "density": density if plus_plus else None,
        "seed": seed,
        **fingerprint(tv, options),
    }
    record = adapt(
        learner,
        streams,
        steps,
        lr=lr,
        batch=batch,
        evaluate=on_weights(options.pop("evaluate", None), learner.merged),
        title=options.pop("title", f"AdaMerging{'++' * plus_plus}, {by}"),
        recipe=recipe,
        **options,
    )
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
