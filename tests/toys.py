"""Small made models, tasks and task vectors that the tests of all folders share."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from hugging_face import SIZE, WIDTH, hugging_face_names, hugging_face_vit
from PIL import Image
from torch import Tensor
from torch.func import functional_call

from mergelib import Layout, TaskVectors
from mergelib.models.encoders import build_encoder
from mergelib.models.heads import Head
from mergelib.models.inputs import Inputs, as_inputs
from mergelib.suites.suite import SPLITS, Split, Suite, Task
from mergelib.workbench import Workbench

# Random numbers and random tasks.


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed: int = 0) -> Tensor:
    """Normal numbers in float64."""
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def noise_task(name: str, classes: int, size: int, images: int, generator: torch.Generator) -> Task:
    """Images (3, size, size) of noise with random labels; of each split so many, drawn in turn."""
    splits = {
        split: Split(
            torch.randint(256, (images, 3, size, size), generator=generator, dtype=torch.uint8),
            torch.randint(classes, (images,), generator=generator),
        )
        for split in SPLITS
    }
    words = tuple(f"{name} {c}" for c in range(classes))
    return Task(name, name.title(), words, ("a photo of {}.",), "random", "", **splits)


def random_head(classes: int, width: int, generator: torch.Generator) -> Head:
    """A head of large random weights, so that predictions are not all unsure."""
    return Head(3 * torch.randn(classes, width, generator=generator), torch.zeros(classes))


NAMES = ("ants", "bees", "cats")  # tasks with 3, 4 and 5 classes

# States, task vectors, and a bench of an encoder of a few hundred weights.

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
    generator, state = seeded(seed), {}
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


def prepared(images: Tensor | Inputs, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 images (N, 3, H, W) as an encoder is given them."""
    return as_inputs(images).prepare("cpu", dtype)[0]


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
    generator = seeded(5)
    tasks = {n: noise_task(n, 3 + i, 4, images, generator) for i, n in enumerate(NAMES)}
    return Suite("toy", 4, tasks)


def toy_bench() -> tuple[tuple[torch.nn.Module, dict[str, Head], Suite], TaskVectors]:
    """((encoder, heads, suite), task vectors): made in milliseconds, nothing trained."""
    suite, generator = toy_suite(), seeded(7)
    torch.manual_seed(3)
    encoder = ToyEncoder().eval()
    heads = {task.name: random_head(len(task.classes), 6, generator) for task in suite}
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

    def classify(state, task: str, images: Inputs) -> Tensor:
        features = functional_call(encoder, state, (images.values.double() / 255,))
        return torch.nn.functional.normalize(features, dim=-1) @ heads[task].weight.double().T

    return classify


# A workbench whose encoder is linear in its weights: much has a closed form there.

PIXELS, IMAGES = 12, 30


@dataclass(frozen=True)
class PlainHead(Head):
    """W f + b of the features as they are, in their type; the library's normalise, in float32."""

    def __call__(self, features):
        return features @ self.weight.to(features).T + self.bias.to(features)

    def to(self, device):
        return self


class Linear(torch.nn.Module):
    """Features W x of the 12 numbers x of a 2 × 2 image."""

    def __init__(self, features):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(features, PIXELS, dtype=torch.float64))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


class Halves(torch.nn.Module):
    """Two blocks that read disjoint inputs, the upper and the lower row of pixels, in float32."""

    def __init__(self, features):
        super().__init__()
        self.upper = torch.nn.Linear(6, features, bias=False)
        self.lower = torch.nn.Linear(6, features, bias=False)

    def forward(self, x):
        rows = (x[:, :, 0].flatten(1), x[:, :, 1].flatten(1))
        return torch.cat([self.upper(rows[0]), self.lower(rows[1])], 1)


def toy_task(name, classes, seed, size=2):
    task = noise_task(name, classes, size, IMAGES, seeded(seed))
    return replace(task, classes=tuple(map(str, range(classes))))


def linear_bench(deltas, classes=3, encoder=None, heads=None) -> Workbench:
    """Tasks a, b, … of noise images; `deltas` (K, P), random base and heads by default."""
    tasks, size = deltas.shape
    encoder = encoder or Linear(size // PIXELS)
    width = encoder(torch.zeros(1, 3, 2, 2, dtype=deltas.dtype)).shape[1]
    names = "abcdefgh"[:tasks]
    suite = Suite("toy", 2, {n: toy_task(n, classes, seed=k) for k, n in enumerate(names)})
    if heads is None:
        heads = {
            n: PlainHead(normal(classes, width, seed=10 + k), normal(classes, seed=20 + k))
            for k, n in enumerate(names)
        }
    base = 0.3 * normal(size, seed=30).to(deltas)
    layout = Layout.from_state(dict(encoder.state_dict()))
    return Workbench(suite, encoder, heads, TaskVectors(names, base, deltas, layout))


# A tiny vision transformer in three layouts, with tasks and experts: made, not trained.


def vit(batch_first: bool = True) -> torch.nn.Module:
    """The pico encoder (open_clip), its blocks batch-first or sequence-first."""
    torch.manual_seed(0)
    encoder = build_encoder("merge-vit-pico")
    if not batch_first:
        from open_clip.transformer import Transformer

        state = encoder.state_dict()
        encoder.transformer = Transformer(WIDTH, 2, 2, mlp_ratio=2.0, batch_first=False)
        encoder.load_state_dict(state)
    return encoder.eval()


def states(spread: float = 0.05) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """(base, experts): random tensors of every part of the pico encoder."""
    generator = seeded(1)

    def near(state: dict[str, Tensor], spread: float) -> dict[str, Tensor]:
        return {n: t + spread * torch.randn(t.shape, generator=generator) for n, t in state.items()}

    base = near(vit().state_dict(), 0.05)
    return base, {name: near(base, spread) for name in NAMES}


def vit_bench(images: int = 24) -> Workbench:
    """Three tasks of noise images on the pico encoder, experts near the base."""
    generator, tasks, heads = seeded(2), {}, {}
    for classes, name in enumerate(NAMES, start=3):
        tasks[name] = noise_task(name, classes, SIZE, images, generator)
        heads[name] = random_head(classes, WIDTH, generator)
    suite = Suite("toy", SIZE, tasks)
    base, experts = states()
    return Workbench(suite, vit(), heads, TaskVectors.from_states(base, experts))


LAYOUTS = ("batch first", "sequence first", "transformers")


def setting(layout="batch first"):
    """(encoder, task vectors), the same function whatever the layout."""
    base, experts = states()
    if layout == "transformers":
        base = hugging_face_names(base)
        experts = {name: hugging_face_names(state) for name, state in experts.items()}
        encoder = hugging_face_vit()
    else:
        encoder = vit(layout == "batch first")
    return encoder, TaskVectors.from_states(base, experts)


def images(count=5, seed=0):
    return torch.randn(count, 3, SIZE, SIZE, generator=seeded(seed))


def stir(model, seed=3):
    """Routers that tell images apart: random in all layers."""
    generator = seeded(seed)
    with torch.no_grad():
        for router in model.routers:
            for parameter in router.parameters():
                parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return model


# Parquet files in the layout of the hub.


def png(colour, size=10) -> dict:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def write_parquet(path, labels, names=None, column="label"):
    import datasets

    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    rows = datasets.Dataset.from_dict(
        {"image": [png((20 * y, 0, 255 - 20 * y)) for y in labels], column: list(labels)},
        features=datasets.Features({"image": datasets.Image(), column: label}),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(str(path))
