"""Small random models for the tests: states of every kind of tensor, and task vectors."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from mergelib import Layout, TaskVectors
from mergelib.models.heads import Head
from mergelib.tasks.suite import SPLITS, Split, Suite, Task

SHAPES = {
    "visual.conv1.weight": (4, 3, 2, 2),
    "visual.class_embedding": (4,),
    "visual.transformer.resblocks.0.attn.in_proj_weight": (12, 4),
    "visual.transformer.resblocks.0.ln_1.bias": (4,),
    "visual.transformer.resblocks.2.mlp.c_fc.weight": (8, 4),
    "visual.transformer.resblocks.10.mlp.c_fc.weight": (8, 4),
    "visual.ln_post.weight": (4,),
    "visual.proj": (4, 5),
    "logit_scale": (),
    "empty": (0, 3),
}


def random_state(
    seed: int, dtype: torch.dtype = torch.float32, near: dict | None = None
) -> dict[str, Tensor]:
    """A state dict of SHAPES with an integer and a boolean buffer; close to `near` if given."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in SHAPES.items():
        values = torch.randn(shape, generator=generator)
        state[name] = (values if near is None else near[name].float() + 0.1 * values).to(dtype)
    return state | {
        "position_ids": torch.arange(7).unsqueeze(0),
        "mask": torch.tensor([True, False]),
    }


def one_tensor(deltas: Tensor, base: Tensor | None = None) -> TaskVectors:
    """Task vectors a, b, c, … of a model that is one tensor "w" of P numbers; base 0 by default."""
    tasks, size = deltas.shape
    base = torch.zeros(size) if base is None else base
    return TaskVectors("abcdefghij"[:tasks], base, deltas, Layout.from_state({"w": base}))


class ToyEncoder(torch.nn.Module):
    """Images (B, 3, 4, 4) to features (B, 6): an embedding and two residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = torch.nn.Linear(48, 6)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(2))
        self.register_buffer("positions", torch.arange(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x.flatten(1))
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return x


def toy_suite(images: int = 40) -> Suite:
    """Three tasks of random 4 × 4 images, with 3, 4 and 5 classes and random labels."""
    generator, tasks = torch.Generator().manual_seed(5), {}
    for number, name in enumerate(("ants", "bees", "cats")):
        classes = 3 + number
        splits = {
            split: Split(
                torch.randint(256, (images, 3, 4, 4), generator=generator, dtype=torch.uint8),
                torch.randint(classes, (images,), generator=generator),
            )
            for split in SPLITS
        }
        words = tuple(f"{name} {c}" for c in range(classes))
        tasks[name] = Task(name, name.title(), words, ("a photo of {}.",), "random", "", **splits)
    return Suite("toy", 4, tasks)


def toy_bench() -> tuple[tuple[torch.nn.Module, dict[str, Head], Suite], TaskVectors]:
    """((encoder, heads, suite), task vectors): made in milliseconds, nothing trained."""
    suite, generator = toy_suite(), torch.Generator().manual_seed(7)
    torch.manual_seed(3)
    encoder = ToyEncoder().eval()
    heads = {}
    for task in suite:
        weight = 3 * torch.randn(len(task.classes), 6, generator=generator)
        heads[task.name] = Head(weight, torch.zeros(len(task.classes)))
    base = encoder.state_dict()
    experts = {
        name: {
            k: v + 0.2 * torch.randn(v.shape, generator=generator) if v.is_floating_point() else v
            for k, v in base.items()
        }
        for name in suite.names
    }
    return (encoder, heads, suite), TaskVectors.from_states(base, experts)


def exact_classifier(bench) -> Callable:
    """classify(state, task, images) of a toy bench in float64, without number formats between."""
    encoder, heads, _ = bench

    def classify(state, task: str, images: Tensor) -> Tensor:
        features = functional_call(encoder, state, (images.double() / 255,))
        return torch.nn.functional.normalize(features, dim=-1) @ heads[task].weight.double().T

    return classify
