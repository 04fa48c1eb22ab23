"""Task vectors from which a shared vector was taken, with an account of how it was found."""

from dataclasses import dataclass

from torch import Tensor

from mergelib.vectors.task_vectors import TaskVectors


@dataclass(frozen=True, eq=False)
class Report:
    """What `awd` found in its n groups of weights; all tensors are float64 on the CPU.

    groups         their names, in the order of everything below
    before         the objective at δ = 0, (n,)
    objective      the objective of the δ that was taken, (n,)
    coefficients   c with δ = Σ_k c_k τ_k in each group, (n, K); if δ has a part outside the span
                   of the task vectors, this gives the part inside
    outside        the length of the part outside, (n,)
    in_span        the least objective of any δ in the span, (n,); exact solver only
    unrestricted   the least objective of any δ, (n,); exact solver only
    iterations     Newton steps over all starts, or descent steps, (n,) int64
    seconds        from the task vectors to the disentangled ones, for all groups
    trajectory     the objective at δ = 0 and after each descent step, (steps + 1, n); descent only
    """

    groups: tuple[str, ...]
    before: Tensor
    objective: Tensor
    coefficients: Tensor
    outside: Tensor
    iterations: Tensor
    seconds: float
    in_span: Tensor | None = None
    unrestricted: Tensor | None = None
    trajectory: Tensor | None = None

    @property
    def seconds_per_step(self) -> float:
        """Of a descent: its seconds divided by its steps."""
        if self.trajectory is None or len(self.trajectory) < 2:
            raise ValueError("only a descent of one step or more has a time per step")
        return self.seconds / (len(self.trajectory) - 1)


class Disentangled(TaskVectors):
    """TaskVectors τ̃_k = τ_k − δ; `redundant` is δ (P,), `report` how it was found.

    What is made from it (one task, a multiple, a sum) are plain TaskVectors.
    """

    __slots__ = ("redundant", "report")

    def __init__(self, tv: TaskVectors, deltas: Tensor, redundant: Tensor, report: Report) -> None:
        super().__init__(tv.tasks, tv.base, deltas, tv.layout)
        object.__setattr__(self, "redundant", redundant)
        object.__setattr__(self, "report", report)

    def __reduce__(self) -> tuple:
        return Disentangled, (
            self.with_deltas(self.deltas),
            self.deltas,
            self.redundant,
            self.report,
        )

    def __repr__(self) -> str:
        return f"{super().__repr__()} less a shared vector"
