"""Task vectors: a base model and K experts fine-tuned from it, as points of one vector space."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mergelib.vectors.checkpoint import Checkpoint, open_checkpoint
from mergelib.vectors.gram import gram
from mergelib.vectors.layout import Layout, Patterns
from mergelib.vectors.selection import Selection
from mergelib.words import nearest


class UnknownTask(KeyError):
    """A task name that the task vectors do not have; the message lists those they have."""

    def __str__(self) -> str:
        return self.args[0]


class TaskVectors:
    """A base θ0 (P,) and K task vectors τ_k = θ_k − θ0, `deltas` (K, P), with the tasks' names.

    Ilharco et al. 2023, "Editing models with task arithmetic", section 2. The algebra reads as
    in the paper: `tv.base + 0.3 * tv.sum()`, `-tv["svhn"]`, `tv["a"] + tv["b"]`.

    Immutable: every operation gives a new object and attributes cannot be set. `base` and
    `deltas` are the tensors themselves, not copies, because they may fill half the memory. Do not
    write to them: a change in place is noticed at the next use, which raises RuntimeError
    (a change through a numpy view of the memory cannot be noticed).
    """

    __slots__ = ("tasks", "layout", "_base", "_deltas", "_versions")

    def __init__(self, tasks: Iterable[str], base: Tensor, deltas: Tensor, layout: Layout) -> None:
        tasks = tuple(tasks)
        if not tasks:
            raise ValueError("task vectors need at least one task")
        if len(set(tasks)) < len(tasks):
            raise ValueError(f"task names must differ from each other: {', '.join(tasks)}")
        shape = (len(tasks), layout.size)
        if tuple(base.shape) != shape[1:] or tuple(deltas.shape) != shape:
            raise ValueError(
                f"{shape[0]} tasks and {shape[1]} parameters need a base of shape {shape[1:]} and "
                f"deltas of shape {shape}, not {tuple(base.shape)} and {tuple(deltas.shape)}"
            )
        if base.dtype not in (torch.float32, torch.float64) or base.dtype != deltas.dtype:
            raise ValueError(
                "base and deltas must both be float32 (or both float64, for checks), "
                f"not {base.dtype} and {deltas.dtype}"
            )
        if base.device != deltas.device:
            raise ValueError(f"base is on {base.device} but deltas are on {deltas.device}")
        versions = _version(base), _version(deltas)
        values = (tasks, layout, base.detach(), deltas.detach(), versions)
        for name, value in zip(TaskVectors.__slots__, values, strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def from_files(
        cls,
        base: str | os.PathLike,
        experts: Mapping[str, str | os.PathLike],
        device: str | torch.device = "cpu",
        *,
        ignore: Patterns = (),
        only: Patterns = (),
    ) -> "TaskVectors":
        """Read a base and its experts (task → path) from safetensors files, each once.

        Left out are the tensors whose names match no shell pattern of `only` (if there are any)
        or one of `ignore`, say ignore=["classifier.*"]. They are looked at in no file, and come
        from elsewhere in the end: see Layout.save and Layout.state_for.

        The result is float32 on `device`, whatever the files' floating types are. Raises
        FileNotFoundError for a missing file and CheckpointError for one that cannot be read or
        does not fit the base, where the message names the tensor and both files, and for a
        pattern that matches no tensor. All headers are checked before any weights are read.
        """
        selection = Selection.of(only, ignore)

        def view(task: str) -> AbstractContextManager[Checkpoint]:
            return open_checkpoint(experts[task], selection)

        return cls._read(open_checkpoint(base, selection), tuple(experts), view, device, selection)

    @classmethod
    def from_states(
        cls,
        base: Mapping[str, Tensor],
        experts: Mapping[str, Mapping[str, Tensor]],
        device: str | torch.device = "cpu",
        *,
        ignore: Patterns = (),
        only: Patterns = (),
    ) -> "TaskVectors":
        """The same from state dicts (task → state dict). Raises what from_files raises; messages
        call the base "base" and an expert "expert 'task'"."""
        selection = Selection.of(only, ignore)

        def view(task: str) -> AbstractContextManager[Checkpoint]:
            return nullcontext(Checkpoint.of_state(experts[task], f"expert {task!r}", selection))

        base_view = nullcontext(Checkpoint.of_state(base, "base", selection))
        return cls._read(base_view, tuple(experts), view, device, selection)

    @classmethod
    def _read(
        cls,
        base_view: AbstractContextManager[Checkpoint],
        tasks: tuple[str, ...],
        view: Callable[[str], AbstractContextManager[Checkpoint]],
        device: str | torch.device,
        selection: Selection,
    ) -> "TaskVectors":
        if not tasks:
            raise ValueError("task vectors need at least one expert")

        def names() -> Iterator[str]:
            for task in tasks:
                with view(task) as expert:
                    yield from (*expert.shapes, *expert.left_out)

        with base_view as checkpoint:
            layout = Layout.from_checkpoint(
                checkpoint, ignore=selection.ignore, only=selection.only, experts=names
            )
            for task in tasks:
                with view(task) as expert:
                    layout.check(expert)
            base = torch.empty(layout.size, dtype=torch.float32, device=device)
            layout.read(checkpoint, base)
        deltas = torch.empty(len(tasks), layout.size, dtype=torch.float32, device=device)
        for row, task in zip(deltas, tasks, strict=True):
            with view(task) as expert:
                layout.read_delta(expert, base, row)
        return cls(tasks, base, deltas, layout)

    @property
    def base(self) -> Tensor:
        """θ0, (P,). Not to be written to."""
        self._require_unchanged()
        return self._base

    @property
    def deltas(self) -> Tensor:
        """τ_1 … τ_K as rows, (K, P). Not to be written to."""
        self._require_unchanged()
        return self._deltas

    @property
    def device(self) -> torch.device:
        """Where base and deltas are."""
        return self._base.device

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"task vectors are immutable: {name!r} cannot be set")

    def __reduce__(self) -> tuple:
        return TaskVectors, (self.tasks, self.base, self.deltas, self.layout)

    def __repr__(self) -> str:
        names = ", ".join(self.tasks)
        return f"TaskVectors(K={len(self)}, P={self.layout.size:,}, {self.device}: {names})"

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)

    def __contains__(self, task: object) -> bool:
        return task in self.tasks

    def __getitem__(self, key: str | Iterable[str]) -> "TaskVectors":
        """The task vectors of one name (K = 1) or of several, in the order asked for.

        Raises UnknownTask (a KeyError) naming the task and listing those there are.
        """
        if isinstance(key, str):
            index = self._index(key)
            return TaskVectors((key,), self.base, self.deltas[index : index + 1], self.layout)
        names = tuple(key)
        indices = torch.tensor([self._index(name) for name in names], device=self.device)
        return TaskVectors(names, self.base, self.deltas[indices.long()], self.layout)

    def with_deltas(self, deltas: Tensor) -> "TaskVectors":
        """The same tasks and base with other task vectors (K, P)."""
        return TaskVectors(self.tasks, self.base, deltas, self.layout)

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> "TaskVectors":
        """The same task vectors on another device, or in float64 for numerical checks."""
        target = {"device": device or self.device, "dtype": dtype or self.base.dtype}
        return TaskVectors(
            self.tasks, self.base.to(**target), self.deltas.to(**target), self.layout
        )

    def sum(self) -> Tensor:
        """Σ_k τ_k, (P,)."""
        return self.deltas.sum(0)

    def gram(self, by: str = "model") -> Tensor:
        """Inner products ⟨τ_i, τ_j⟩ in float64: (K, K), or (n, K, K) for by="tensor" or "block".

        The n groups are those of `tv.layout.segments(by)`, in that order; their sum is the
        Gram matrix of the model.
        """
        grams = gram(self.deltas, self.layout.segments(by))
        return grams[0] if by == "model" else grams

    def norms(self, by: str = "model") -> Tensor:
        """‖τ_k‖₂ in float64: (K,), or (n, K) for by="tensor" or "block"."""
        return self.gram(by).diagonal(dim1=-2, dim2=-1).sqrt()

    def cosines(self, by: str = "model") -> Tensor:
        """cos(τ_i, τ_j) in float64, shaped as gram(by).

        The diagonal is exactly 1; where a task vector is zero its cosine with others is 0.
        """
        grams = self.gram(by)
        norms = grams.diagonal(dim1=-2, dim2=-1).sqrt()
        lengths = norms.unsqueeze(-1) * norms.unsqueeze(-2)
        cosines = torch.where(lengths > 0, grams / lengths, 0.0).clamp(-1, 1)
        cosines.diagonal(dim1=-2, dim2=-1).fill_(1)
        return cosines

    def __neg__(self) -> "TaskVectors":
        return self.with_deltas(-self.deltas)

    def __mul__(self, factor: float | Tensor) -> "TaskVectors":
        """Every τ_k times a number, or times its own of K numbers given as a (K,) tensor."""
        factor = torch.as_tensor(factor, dtype=self.base.dtype, device=self.device)
        if factor.dim() and factor.shape != (len(self),):
            raise ValueError(
                f"task vectors are multiplied by one number or by {len(self)}, one per task, "
                f"not by a tensor of shape {tuple(factor.shape)}"
            )
        return self.with_deltas(self.deltas * factor.unsqueeze(-1))

    __rmul__ = __mul__

    def __add__(self, other: "TaskVectors") -> "TaskVectors":
        """Task by task if both have the same tasks, all tasks of both if they share none.

        Raises ValueError if they share only some, or differ in base or layout.
        """
        if not isinstance(other, TaskVectors):
            return NotImplemented
        if not self.layout.matches(other.layout):
            raise ValueError(
                f"task vectors of different models cannot be added: {self.layout.source} and "
                f"{other.layout.source} differ in their tensors"
            )
        if self.base is not other.base and not torch.equal(self.base, other.base):
            raise ValueError(
                "task vectors of different base weights cannot be added: "
                f"{self.layout.source} and {other.layout.source}"
            )
        shared = set(self.tasks) & set(other.tasks)
        if not shared:
            deltas = torch.cat([self.deltas, other.deltas])
            return TaskVectors(self.tasks + other.tasks, self.base, deltas, self.layout)
        if len(shared) < max(len(self), len(other)):
            raise ValueError(
                "task vectors are added task by task or joined; these share some tasks and not "
                f"others: {', '.join(self.tasks)} and {', '.join(other.tasks)}"
            )
        return self.with_deltas(self.deltas + other[self.tasks].deltas)

    def __sub__(self, other: "TaskVectors") -> "TaskVectors":
        """self + (−other)."""
        return self + -other if isinstance(other, TaskVectors) else NotImplemented

    def _index(self, task: str) -> int:
        if task in self.tasks:
            return self.tasks.index(task)
        hint = nearest(task, self.tasks)
        raise UnknownTask(f"no task {task!r} among {', '.join(self.tasks)}{hint}")

    def _require_unchanged(self) -> None:
        if (_version(self._base), _version(self._deltas)) != self._versions:
            raise RuntimeError(
                "the base or deltas of these task vectors have been changed in place; "
                "work on a copy (.clone()) instead"
            )


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
