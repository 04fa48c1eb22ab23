"""A vision transformer as a shared expert to which an image's share of each expert is added."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from mergelib.evaluation import encode
from mergelib.mixtures.twin.exclusive import (
    Exclusive,
    Mixed,
    MixedAttention,
    MixedConv,
    MixedLinear,
    MixedNorm,
)
from mergelib.models.sites import replace, sites

CLASS_TOKENS, POSITIONS = ("class_embedding",), ("positional_embedding", "position_embedding")
KINDS = (
    (torch.nn.MultiheadAttention, MixedAttention),
    (torch.nn.Linear, MixedLinear),
    (torch.nn.Conv2d, MixedConv),
    (torch.nn.LayerNorm, MixedNorm),
)


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
    """Images (B, 3, H, W) to features (B, d) with the weights θ* + Σ_k softmax(g(x))_k v_k.

    Two passes: one of the shared expert, whose last tokens the router reads, and one with the
    exclusive vectors. It takes the encoder's place in `mergelib.evaluation`. `encoder` has the
    shared weights; it is copied. Raises ValueError naming a tensor of `exclusive` that is in no
    module of a known kind.
    """

    def __init__(
        self,
        encoder: torch.nn.Module,
        tasks: tuple[str, ...],
        exclusive: Exclusive,
        router: TwinRouter | None = None,
    ) -> None:
        super().__init__()
        places = sites(encoder)
        self.tasks, self.exclusive = tasks, exclusive
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.batch_first = places[0].batch_first
        self.last_block = places[-1].name.rpartition(".")[0]
        self.router = router or TwinRouter(places[0].width, len(tasks))
        self.project = None
        if isinstance(getattr(self.encoder, "proj", None), torch.nn.Parameter):
            self.project, self.encoder.proj = self.encoder.proj, None
        self._mix_modules(places[0].name.rpartition(".")[0])
        self.eval()

    def _mix_modules(self, first_block: str) -> None:
        blocks = first_block.rpartition(".")[0]
        known, first_norm, before = set(), None, True
        if self.project is not None:
            known.add("proj")
        for name, module in list(self.encoder.named_modules()):
            kind = next((mixed for plain, mixed in KINDS if isinstance(module, plain)), None)
            own = {f"{name}.{n}" for n, _ in module.named_parameters()}
            if kind is None or own & known or not own:
                continue
            known |= own
            inside = name.startswith(f"{blocks}.")
            before = before and not inside  # a norm after the blocks sees no embeddings
            mixed = kind(module, self.exclusive, name, self.batch_first or not inside)
            if kind is MixedNorm and before and first_norm is None:
                first_norm = mixed
            replace(self.encoder, name, mixed)
        names = {n.partition("/")[2] for n in self.exclusive.tensors()}
        embeddings = []
        for name in sorted(names - known):
            words = name.removesuffix(".weight").split(".")
            if first_norm is None or words[-1] not in CLASS_TOKENS + POSITIONS:
                raise ValueError(f"tensor {name!r} is in no module that a Twin model can mix")
            embeddings.append((name, words[-1] in CLASS_TOKENS))
        if first_norm is not None:
            first_norm.embeddings = tuple(embeddings)

    def shared_tokens(self, images: Tensor) -> Tensor:
        """The mean over the tokens of the shared expert's last block, (B, d) float32."""
        found: list[Tensor] = []

        def keep(module: torch.nn.Module, inputs: tuple, out: Tensor | tuple) -> None:
            tokens = out[0] if isinstance(out, tuple) else out
            found.append(tokens.float().mean(1 if self.batch_first else 0))

        hook = self.encoder.get_submodule(self.last_block).register_forward_hook(keep)
        try:
            self._run(images, None)
        finally:
            hook.remove()
        return found[0]

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.shared_tokens(images)
        with torch.autocast(tokens.device.type, enabled=False):
            coefficients = self.router(tokens).softmax(-1)
        return self._run(images, coefficients)

    @torch.no_grad()
    def coefficients(self, images: Tensor, batch: int | None = None) -> Tensor:
        """softmax(g(x)) of uint8 images (N, 3, H, W), (N, 1, K) float32: one for all parts."""
        found: list[Tensor] = []
        hook = self.router.register_forward_hook(lambda router, x, y: found.append(y.softmax(-1)))
        try:
            encode(self, images, batch=batch)
        finally:
            hook.remove()
        return torch.cat(found).unsqueeze(1)

    def mixed(self, images: Tensor, coefficients: Tensor) -> Tensor:
        """Features with coefficients (B, K) that are given, not those of the router."""
        return self._run(images, coefficients)

    def _run(self, images: Tensor, coefficients: Tensor | None) -> Tensor:
        self.exclusive.coefficients = coefficients
        try:
            pooled = self.encoder(images)
            if self.project is None:
                return pooled
            projected = pooled @ self.project
            if coefficients is None:
                return projected
            return projected + self.exclusive.linear(pooled, "proj", None)
        finally:
            self.exclusive.coefficients = None

    def shared_state(self) -> dict[str, Tensor]:
        """The shared expert's tensors under the encoder's own names."""
        inner = [f"{n}.inner." for n, m in self.encoder.named_modules() if isinstance(m, Mixed)]
        state = {}
        for name, tensor in self.encoder.state_dict().items():
            inside = next((p for p in inner if name.startswith(p)), None)
            plain = name if inside is None else name.replace(".inner.", ".", 1)
            state[plain] = tensor
        return state if self.project is None else {**state, "proj": self.project.detach()}

    def sizes(self) -> dict[str, int]:
        """Numbers `trainable` (the router's), in `exclusive` vectors, and in `total`."""
        router = sum(p.numel() for p in self.router.parameters())
        shared = sum(t.numel() for t in self.shared_state().values() if t.is_floating_point())
        extra = sum(t.numel() for t in self.exclusive.tensors().values())
        return {"trainable": router, "exclusive": extra, "total": router + shared + extra}


def as_matrices(name: str, deltas: Mapping[str, Tensor]) -> Tensor | None:
    """The (K, …) differences of a tensor as (K, o, i) matrices, or None if it is a vector.

    A root's projection is applied from the right, so its transpose is the weight.
    """
    tensor = deltas[name]
    if tensor.dim() < 3:
        return None
    matrices = tensor.flatten(2)
    return matrices.mT if name == "proj" else matrices
