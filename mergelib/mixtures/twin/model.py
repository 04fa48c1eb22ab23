"""A transformer as a shared expert to which an input's share of each expert is added."""

import copy
import functools
import inspect
import os
from collections.abc import Callable

import torch
from torch import Tensor

from mergelib.evaluation import encode
from mergelib.mixtures.masks import RealTokens, token_mean
from mergelib.mixtures.twin.exclusive import Exclusive
from mergelib.mixtures.twin.front import Front
from mergelib.mixtures.twin.mixed import Mixed
from mergelib.mixtures.twin.places import Places, places
from mergelib.models.embeddings import POSITIONS, last_word, lookups, untied
from mergelib.models.inputs import Inputs
from mergelib.models.products import positions, products, uses
from mergelib.models.sites import replace


class TwinRouter(torch.nn.Module):
    """Task logits (B, K) from the mean over the shared expert's last tokens (B, d).

    Lu et al. 2024, "Twin-Merging", section 3.3 and code: d → 2d → 2d → K, with batch norm, leaky
    ReLU and dropout of a half after the first two.
    """

    def __init__(self, width: int, tasks: int) -> None:
        super().__init__()
        nn, wide = torch.nn, 2 * width

        def layer(inputs: int) -> list[torch.nn.Module]:
            return [nn.Linear(inputs, wide), nn.BatchNorm1d(wide), nn.LeakyReLU(), nn.Dropout(0.5)]

        self.layers = nn.Sequential(*layer(width), *layer(wide), nn.Linear(wide, tasks))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class TwinModel(torch.nn.Module):
    """A model with the weights θ* + Σ_k softmax(g(x))_k v_k of each input x, called as the model
    that it was made of is called.

    Two passes: one of the shared expert, whose last tokens the router reads, padding left out
    where an `attention_mask` tells of it (see RealTokens), and one with the exclusive vectors.
    `encoder` has the shared weights; it is copied. `left_shared` names the tensors that differ
    between the experts, but are in no module that can be mixed for every input: all inputs get
    the shared expert's. Raises ValueError naming a tensor of `exclusive` of which that is true.
    """

    def __init__(
        self,
        encoder: torch.nn.Module,
        tasks: tuple[str, ...],
        exclusive: Exclusive,
        router: TwinRouter | None = None,
        left_shared: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.tasks, self.exclusive, self.left_shared = tuple(tasks), exclusive, tuple(left_shared)
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        where = places(self.encoder)
        self.last_block, self.batch_first = where.last, where.batch_first
        self.router = router or TwinRouter(where.width, len(tasks))
        for name in exclusive.names():
            if name not in where.names():
                raise ValueError(f"tensor {name!r} is in no module that a Twin model can mix")
        self._mix_modules(where)
        self.real = RealTokens()
        self.real.watch(self.encoder, [where.last])
        self.eval()

    def _mix_modules(self, where: Places) -> None:
        made: dict[int, Mixed] = {}
        for name, (kind, names) in where.modules.items():
            if not any(self.exclusive.has(n) for n in names.values()):
                continue
            owner, _, child = name.rpartition(".")
            owner = self.encoder.get_submodule(owner)
            inner = getattr(owner, child)
            if id(inner) not in made:
                first = self.batch_first or not where.in_blocks(name)
                made[id(inner)] = kind(inner, self.exclusive, names, name, first)
            if isinstance(inner, torch.nn.Parameter):
                delattr(owner, child)
            replace(self.encoder, name, made[id(inner)])
        rows = [row for row in where.rows if self.exclusive.has(row.name)]
        if rows:
            first = self.batch_first or not where.in_blocks(where.gate)
            front = Front(self.exclusive, rows, first)
            gate = self.encoder.get_submodule(where.gate)
            gate.register_forward_pre_hook(front.before, with_kwargs=True)

    def shared_tokens(self, *inputs: object, **options: object) -> Tensor:
        """The mean over the real tokens of the shared expert's last block, (B, d) float32."""
        tokens, _ = self._shared(self.encoder, *inputs, **options)
        return tokens

    def forward(self, *inputs: object, **options: object) -> object:
        return self._twice(self.encoder, *inputs, **options)

    def __getattr__(self, name: str) -> object:
        """What this does not have is the encoder's; its methods make two passes, too.

        Raises RuntimeError for a module of it whose weights are mixed: called by itself it would
        have the shared expert's.
        """
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "encoder":
                raise
            found = getattr(self.encoder, name)
        inside = found.modules() if isinstance(found, torch.nn.Module) else ()
        if any(isinstance(module, Mixed) for module in inside):
            raise RuntimeError(
                f"{name!r} is a part of a Twin model, which is called as a whole or by a method: "
                "by itself it would have the shared expert's weights"
            )
        return functools.partial(self._twice, found) if inspect.ismethod(found) else found

    def _twice(self, call: Callable, *inputs: object, **options: object) -> object:
        tokens, out = self._shared(call, *inputs, **options)
        if tokens is None:  # a call of something beside the blocks
            return out
        with torch.autocast(tokens.device.type, enabled=False):
            coefficients = self.router(tokens).softmax(-1)
        return self._with(coefficients, call, *inputs, **options)

    def _shared(
        self, call: Callable, *inputs: object, **options: object
    ) -> tuple[Tensor | None, object]:
        """What the router reads, None if the last block does not run, and what the call gives."""
        found: list[Tensor] = []

        def keep(module: torch.nn.Module, given: tuple, out: Tensor | tuple) -> None:
            tokens = (out[0] if isinstance(out, tuple) else out).float()
            tokens = tokens if self.batch_first else tokens.transpose(0, 1)
            found.append(token_mean(tokens, self.real.of(tokens)))

        hook = self.encoder.get_submodule(self.last_block).register_forward_hook(keep)
        try:
            out = self._with(None, call, *inputs, **options)
        finally:
            hook.remove()
        return (found[0] if found else None), out

    @torch.no_grad()
    def coefficients(
        self, inputs: Inputs | Tensor | Callable[[], object], batch: int | None = None
    ) -> Tensor:
        """softmax(g(x)) of N inputs, or of all that a function calls the model with: (N, 1, K)
        float32, one for all parts."""
        found: list[Tensor] = []
        hook = self.router.register_forward_hook(lambda router, x, y: found.append(y.softmax(-1)))
        try:
            inputs() if callable(inputs) else encode(self, inputs, batch=batch)
        finally:
            hook.remove()
        return torch.cat(found).unsqueeze(1)

    def mixed(self, inputs: object, coefficients: Tensor, **options: object) -> object:
        """What the model gives with coefficients (B, K) that are given, not those of the router."""
        return self._with(coefficients, self.encoder, inputs, **options)

    def _with(
        self, coefficients: Tensor | None, call: Callable, *inputs: object, **options: object
    ) -> object:
        self.exclusive.coefficients = coefficients
        try:
            return call(*inputs, **options)
        finally:
            self.exclusive.coefficients = None

    def learnt(self) -> dict[str, Tensor]:
        """What is learnt: the state of the router."""
        return self.router.state_dict()

    def shared_state(self) -> dict[str, Tensor]:
        """The shared expert's tensors under the model's own names, tied ones once."""
        inner = tuple(
            f"{name}.inner"
            for name, module in self.encoder.named_modules(remove_duplicate=False)
            if isinstance(module, Mixed)
        )
        state = {}
        for name, tensor in untied(self.encoder).items():
            if name.startswith(inner):
                name = name.replace(".inner.", ".", 1).removesuffix(".inner")
            state[name] = tensor
        return state

    def sizes(self) -> dict[str, int]:
        """Numbers `trainable` (the router's), in `exclusive` vectors, and in `total`."""
        router = sum(p.numel() for p in self.router.parameters())
        shared = sum(t.numel() for t in self.shared_state().values() if t.is_floating_point())
        extra = sum(t.numel() for t in self.exclusive.tensors().values())
        return {"trainable": router, "exclusive": extra, "total": router + shared + extra}

    def cost(self, tokens: int | None = None) -> dict[str, int]:
        """Multiply-adds of an input of `tokens` real tokens (default: a vision transformer's).

        `products`: with shared weights, and of attention, in two passes; `mixing`: the low-rank
        products and sums of vectors; `routing`: the router. Raises ValueError if the number must
        be given.
        """
        weights = self.shared_state()
        tables = {name.replace(".inner.", ".") for name in lookups(self.encoder)}
        tokens = positions(weights) if tokens is None else tokens
        mixing = 0
        for key, tensor in self.exclusive.tensors().items():
            kind, _, name = key.partition("/")
            if kind == "vectors":
                mixing += tensor.numel()
            elif name in tables or last_word(name) in POSITIONS:  # rows of U_k, times V_k
                mixing += tensor.numel() * tokens if kind == "right" else 0
            else:
                mixing += tensor.numel() * uses(name, weights, tables, tokens)
        layers = [m for m in self.router.layers if isinstance(m, torch.nn.Linear)]
        return {
            "products": 2 * products(weights, tables, tokens),
            "mixing": mixing,
            "routing": sum(layer.weight.numel() for layer in layers),
        }

    def save(self, path: str | os.PathLike) -> None:
        """Write it to a file: see save_twin."""
        from mergelib.mixtures.twin.file import save_twin  # which imports this module

        save_twin(self, path)
