"""How a Twin model is made of a model and its task vectors."""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from mergelib.merging.task_arithmetic import task_arithmetic
from mergelib.mixtures.twin.exclusive import Exclusive, factors
from mergelib.mixtures.twin.model import TwinModel
from mergelib.mixtures.twin.places import places
from mergelib.models.embeddings import FIRST, NEXT, PROJECTIONS, last_word
from mergelib.vectors.checkpoint import and_more
from mergelib.vectors.task_vectors import TaskVectors


def twin_model(
    model: torch.nn.Module, tv: TaskVectors, scale: float = 0.29, rank: float = 0.1
) -> TwinModel:
    """θ(x) = θ* + Σ_k c_k(x) v_k with a router that has not learnt anything yet; see twin_merging.

    Tensors that the task vectors leave out are the model's own. Warns of tensors that differ
    between the experts and cannot be mixed for every input, of which `left_shared` of the result
    has the names. Raises CheckpointError if the model does not fit the task vectors (see
    Layout.require_fits), ValueError if it cannot be taken apart or `rank` is not a share.
    """
    layout = tv.layout
    layout.require_fits(model)
    shared = task_arithmetic(tv, scale)
    rest = (tv.base - shared) + tv.deltas  # θ_k − θ*, (K, P)
    where = places(model)
    can, left, right, vectors, left_shared = where.names(), {}, {}, {}, []
    for name, deltas in layout.split(rest).items():
        known = where.alias.get(name, name)
        if known not in can:
            left_shared += [name] if bool(deltas.any()) else []
        elif known not in left and known not in vectors:
            matrices = as_matrices(known, deltas)
            if matrices is None:
                vectors[known] = deltas.flatten(1).clone()
            else:
                left[known], right[known] = factors(matrices, rank)
    if left_shared:
        warnings.warn(
            f"tensor {and_more(left_shared)} differs between the experts, but cannot be mixed for "
            "every input: all inputs get the shared expert's",
            stacklevel=2,
        )
    state = layout.state_for(model, shared)
    return twin_of(model, tv.tasks, state, left, right, vectors, tuple(left_shared))


def recompressed(
    twin: TwinModel, model: torch.nn.Module, tv: TaskVectors, scale: float, rank: float
) -> TwinModel:
    """The shared expert of λ = `scale` and the router of `twin`, which was trained with it, with
    exclusive vectors of another rank: the router reads the shared expert only."""
    other = twin_model(model, tv, scale, rank)
    other.router.load_state_dict(twin.router.state_dict())
    return other.eval()


def twin_of(
    model: torch.nn.Module,
    tasks: tuple[str, ...],
    shared: Mapping[str, Tensor],
    left: Mapping[str, Tensor],
    right: Mapping[str, Tensor],
    vectors: Mapping[str, Tensor],
    left_shared: tuple[str, ...] = (),
) -> TwinModel:
    """A Twin model of the model's architecture with tensors by name; see Exclusive."""
    exclusive = Exclusive(left, right, vectors)
    twin = TwinModel(model, tasks, exclusive, left_shared=left_shared)
    with torch.no_grad():
        for name, tensor in twin.shared_state().items():
            tensor.copy_(shared[name])
    return twin.to(next(iter(shared.values())).device)


def as_matrices(name: str, deltas: Tensor) -> Tensor | None:
    """The differences (K, …) of a tensor as (K, o, i) matrices, or None if they are vectors, as
    those of extra tokens are.

    A bare projection is applied from the right, so its transpose is the weight; a table of
    positions may have a first dimension of one.
    """
    if deltas.dim() < 3 or last_word(name) in FIRST + NEXT:
        return None
    bare = not name.endswith(".weight")
    if bare and deltas.dim() == 4 and deltas.shape[1] == 1:
        return deltas.squeeze(1)
    matrices = deltas.flatten(2)
    return matrices.mT if bare and last_word(name) in PROJECTIONS else matrices
