"""Learners of a mask over all weights, as `mergelib.adaptation.concrete` uses them."""

from collections.abc import Callable

import torch
from torch import Tensor

from mergelib.adaptation.adamerging import Bounds, check_bounds, initial_coefficients
from mergelib.adaptation.combination import Combination
from mergelib.adaptation.mask import KINDS, deployed_mask, relaxed_mask
from mergelib.adaptation.streams import derived_seed
from mergelib.adaptation.weights import WeightLearner
from mergelib.vectors.task_vectors import TaskVectors


class MaskLearner(WeightLearner):
    """Learns mask logits x (P,), `trainable["logits"]`, with coefficients (K, n) that are fixed.

    Every step draws a mask of its own, by `seed` and the step's number.
    """

    def __init__(
        self,
        tv: TaskVectors,
        classify: Callable,
        by: str = "tensor",
        init: float = 0.3,
        temperature: float = 0.5,
        logit: float = 0.0,
        seed: int = 0,
        kind: str = "expected",
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"mask must be one of {', '.join(KINDS)}, not {kind!r}")
        if logit != logit:
            raise ValueError("logit must be a number, not NaN")
        self.combination, self.temperature = Combination(tv, by), temperature
        self.seed, self.kind, self._draw = seed, kind, (0, 0)
        self.init = initial_coefficients(tv, self.combination, init)
        logits = torch.full_like(tv.base, logit).requires_grad_()
        self._room = torch.empty_like(tv.base)  # for the mask
        super().__init__({"logits": logits}, self._form, classify, tv.layout, tv.base)

    def prepare(self, step: int, observe: Callable[[int], None]) -> None:
        self._draw = (step, 1)

    def draw(self, logits: Tensor) -> Tensor:
        """The random mask of this moment of the run, in memory that the next draw takes."""
        seed = derived_seed(self.seed, "mask", *self._draw)
        generator = torch.Generator().manual_seed(seed)
        layout, room = self.combination.tv.layout, self._room
        return relaxed_mask(logits, layout, self.temperature, generator, room, consume=True)

    def _form(self, out: Tensor) -> Tensor:
        mask = self.draw(self.trainable["logits"])
        return self.combination(self.init, mask, out, consume=True)

    @torch.no_grad()
    def merged(self) -> Tensor:
        """The weights (P,) with the deployed mask of the present logits and the initial λ."""
        layout, logits = self.combination.tv.layout, self.trainable["logits"].detach()
        mask = deployed_mask(logits, layout, self.temperature, self.kind, self.seed)
        return self.combination(self.init, mask)


class MetaLearner(MaskLearner):
    """Learns mask logits from which one step on the coefficients leads far: first-order bi-level.

    A step: λ ← `init`; draw a mask; on the tasks' first batches, one step of Adam on λ at rate
    `inner_lr`; draw another mask; on their second batches, one step on x with this λ held fixed.
    No gradient goes through the inner step. Its moments live on from step to step, so that the
    size of the step is that of the rate, and not of a gradient's.
    """

    batches = 2

    def __init__(
        self, *arguments, inner_lr: float = 0.1, clamp: Bounds | None = None, **numbers
    ) -> None:
        super().__init__(*arguments, **numbers)
        self.clamp = check_bounds(clamp)
        self.coefficients = self.init.clone().requires_grad_()
        self.inner = torch.optim.Adam([self.coefficients], lr=inner_lr, fused=True)

    def prepare(self, step: int, observe: Callable[[int], None]) -> None:
        with torch.no_grad():
            self.coefficients.copy_(self.init)
        self._draw, self._inner_step = (step, 0), True
        self.inner.zero_grad()
        observe(0)
        self.inner.step()
        self._draw, self._inner_step = (step, 1), False

    def _form(self, out: Tensor) -> Tensor:
        logits, used = self.trainable["logits"], self.coefficients
        if self.clamp is not None:
            used = used.clamp(*self.clamp)
        if self._inner_step:
            return self.combination(used, self.draw(logits.detach()), out)
        return self.combination(used.detach(), self.draw(logits), out, consume=True)

    def wanted(self) -> list[Tensor]:
        return [self.coefficients] if self._inner_step else super().wanted()

    def state(self) -> dict:
        return {"inner": self.inner.state_dict()}

    def restore(self, state: dict) -> None:
        self.inner.load_state_dict(state["inner"])
