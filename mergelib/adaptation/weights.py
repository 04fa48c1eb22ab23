"""A model's weights as autograd's leaves, and the learners that form them from something smaller.

The weights of all tensors lie in one vector, and so do their gradients: a backward pass adds to
views of the second, so that K tasks in a row leave one (P,) gradient, without concatenation.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mergelib.adaptation.loop import Learner
from mergelib.vectors.layout import Layout

Classify = Callable[[Mapping[str, Tensor], str, Tensor], Tensor]
"""classify(state, task, inputs) gives logits (B, C) of the model with the tensors `state`."""


class Weights:
    """Room for one model: `values` (P,), `gradient` (P,) and `state`, the tensors by name.

    The tensors of `state` are leaves that share memory with `values`; their gradients are added
    to `gradient`. Kept buffers of the layout are in `state` as they are.
    """

    def __init__(self, layout: Layout, like: Tensor) -> None:
        self.values, self.gradient = torch.empty_like(like), torch.zeros_like(like)
        state, gradients = layout.unflatten(self.values), layout.unflatten(self.gradient)
        for name in layout.names:
            state[name] = state[name].detach().requires_grad_()
            state[name].grad = gradients[name].detach()
        self.state = state


class WeightLearner(Learner):
    """Learns tensors from which the weights of one model are formed.

    `form(out)` writes the weights (P,) to `out` and returns them with their graph. The graph of
    the model ends at the weights, so that their gradient, summed over the tasks, goes through
    `form` once a step and not once a task.
    """

    def __init__(
        self,
        trainable: Mapping[str, Tensor],
        form: Callable[[Tensor], Tensor],
        classify: Classify,
        layout: Layout,
        like: Tensor,
    ) -> None:
        self.form, self.weights = form, Weights(layout, like)
        one, several = classify, getattr(classify, "together", None)
        super().__init__(
            trainable,
            lambda task, x: one(self.weights.state, task, x),
            None if several is None else lambda batches: several(self.weights.state, batches),
        )

    def begin(self) -> None:
        self._formed = self.form(self.weights.values)
        self.weights.gradient.zero_()

    def wanted(self) -> list[Tensor]:
        """The tensors whose gradient the step needs."""
        return list(self.trainable.values())

    def end(self) -> None:
        wanted = self.wanted()
        # Not by backward(), which copies a gradient that shares memory with the one it came from.
        found = torch.autograd.grad(self._formed, wanted, self.weights.gradient)
        for tensor, gradient in zip(wanted, found, strict=True):
            tensor.grad = gradient.contiguous()  # fused Adam takes both as they lie in memory
        del self._formed
