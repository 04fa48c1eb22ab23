"""A tiny vision transformer in three layouts, with tasks and experts: made, not trained."""

import torch
from torch import Tensor

from mergelib import TaskVectors
from mergelib.models.encoders import build_encoder
from mergelib.models.heads import Head
from mergelib.tasks.suite import SPLITS, Split, Suite, Task
from mergelib.workbench import Workbench

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
