"""The tiny vision transformer of the tests as transformers builds and names it."""

import torch
from torch import Tensor

SIZE, WIDTH = 16, 16  # of an image, of the encoder


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
