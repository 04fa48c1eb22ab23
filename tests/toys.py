"""Small made models, tasks and task vectors that the tests of all folders share."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.func import functional_call

from mergelib import Layout, TaskVectors
from mergelib.models.encoders import build_encoder
from mergelib.models.heads import Head
from mergelib.models.inputs import Inputs, as_inputs
from mergelib.suites.suite import SPLITS, Split, Suite, Task
from mergelib.workbench import Workbench

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

    def classify(state, task: str, images: Inputs) -> Tensor:
        features = functional_call(encoder, state, (images.values.double() / 255,))
        return torch.nn.functional.normalize(features, dim=-1) @ heads[task].weight.double().T

    return classify


# AWD: task vectors that lean on each other, in float64, and its objective written out.


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def vectors(deltas):
    return one_tensor(deltas, torch.zeros_like(deltas[0]))


def side_by_side(instances):
    """Task vectors of a model with a tensor for each of these (K, P) ones."""
    deltas = torch.cat(list(instances), 1)
    base = torch.zeros_like(deltas[0])
    parts = base.split([x.shape[1] for x in instances])
    layout = Layout.from_state({f"w{i}": part for i, part in enumerate(parts)})
    return TaskVectors([f"t{i}" for i in range(len(deltas))], base, deltas, layout)


def leaning(tasks=4, size=60, seed=0, lean=0.5):
    """Random task vectors of about unit length that share a part."""
    deltas = draw(tasks, size, seed=seed) + lean * draw(size, seed=seed + 100)
    return vectors(deltas / size**0.5)


def model(tasks=3, seed=0):
    """Task vectors of a model of several tensors, in float64."""
    base = random_state(seed)
    experts = {f"t{i}": random_state(seed + 1 + i, near=base) for i in range(tasks)}
    tv = TaskVectors.from_states(base, experts).to(dtype=torch.float64)
    shared = 0.05 * draw(tv.layout.size, seed=seed)
    return tv.with_deltas(tv.deltas + shared)


def slow_objective(deltas, redundant, alpha):
    """f for many problems at once: deltas (…, K, P), redundant (…, P)."""
    v = deltas - redundant.unsqueeze(-2)
    u = v / v.norm(dim=-1, keepdim=True)
    tasks = deltas.shape[-2]
    apart = 1 - torch.eye(tasks, dtype=deltas.dtype)
    pairs = (u @ u.mT).abs() * apart
    return pairs.sum((-1, -2)) / (tasks * (tasks - 1)) + alpha * redundant.norm(dim=-1)


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


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def toy_task(name, classes, seed, size=2):
    generator = torch.Generator().manual_seed(seed)

    def split():
        images = torch.randint(0, 256, (IMAGES, 3, size, size), generator=generator)
        labels = torch.randint(0, classes, (IMAGES,), generator=generator)
        return Split(images.to(torch.uint8), labels)

    names = tuple(map(str, range(classes)))
    return Task(name, name, names, ("{}",), "drawn", "Noise.", split(), split(), split())


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

NAMES, SIZE, WIDTH = ("ants", "bees", "cats"), 16, 16


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


class Features(torch.nn.Module):
    """The image features of a transformers model, as the library wants them."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(pixel_values=images).image_embeds


def hugging_face_vit() -> torch.nn.Module:
    """An encoder of the same shape from transformers, with weights of its own."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIZE,
        patch_size=4,
        projection_dim=WIDTH,
        hidden_act="gelu",
    )
    return Features(CLIPVisionModelWithProjection(config)).eval()


def hugging_face_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an open_clip tower under the names that transformers gives them."""
    names = [n for n in hugging_face_vit().state_dict() if n.endswith("class_embedding")]
    root = names[0].removesuffix("embeddings.class_embedding")
    out = {
        f"{root}embeddings.class_embedding": state["class_embedding"],
        f"{root}embeddings.position_embedding.weight": state["positional_embedding"],
        f"{root}embeddings.patch_embedding.weight": state["conv1.weight"],
        "model.visual_projection.weight": state["proj"].T.contiguous(),
    }
    for kind in ("weight", "bias"):
        out[f"{root}pre_layrnorm.{kind}"] = state[f"ln_pre.{kind}"]
        out[f"{root}post_layernorm.{kind}"] = state[f"ln_post.{kind}"]
        for block in range(2):
            theirs = f"transformer.resblocks.{block}."
            ours = f"{root}encoder.layers.{block}."
            parts = state[f"{theirs}attn.in_proj_{kind}"].chunk(3)
            for letter, part in zip("qkv", parts, strict=True):
                out[f"{ours}self_attn.{letter}_proj.{kind}"] = part
            for mine, other in (
                ("self_attn.out_proj", "attn.out_proj"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
            ):
                out[f"{ours}{mine}.{kind}"] = state[f"{theirs}{other}.{kind}"]
    return out


def states(spread: float = 0.05) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """(base, experts): random tensors of every part of the pico encoder."""
    generator = torch.Generator().manual_seed(1)

    def near(state: dict[str, Tensor], spread: float) -> dict[str, Tensor]:
        return {n: t + spread * torch.randn(t.shape, generator=generator) for n, t in state.items()}

    base = near(vit().state_dict(), 0.05)
    return base, {name: near(base, spread) for name in NAMES}


def vit_bench(images: int = 24) -> Workbench:
    """Three tasks of noise images on the pico encoder, experts near the base."""
    generator, tasks, heads = torch.Generator().manual_seed(2), {}, {}
    for number, name in enumerate(NAMES):
        classes = 3 + number
        splits = {
            split: Split(
                torch.randint(256, (images, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8),
                torch.randint(classes, (images,), generator=generator),
            )
            for split in SPLITS
        }
        words = tuple(f"{name} {c}" for c in range(classes))
        tasks[name] = Task(name, name.title(), words, ("a photo of {}.",), "random", "", **splits)
        heads[name] = Head(
            3 * torch.randn(classes, WIDTH, generator=generator), torch.zeros(classes)
        )
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
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, SIZE, SIZE, generator=generator)


def stir(model, seed=3):
    """Routers that tell images apart: random in all layers."""
    generator = torch.Generator().manual_seed(seed)
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
