"""Tiny random transformers of every family that mixtures take apart, and inputs for them.

Importing mergelib.models first makes timm, open_clip and transformers importable.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from mergelib import TaskVectors
from mergelib.models import _torchvision  # noqa: F401  (must come before the others)

WIDTH, VOCABULARY, CONTEXT, TASKS = 16, 30, 20, ("ants", "bees", "cats")
LENGTHS = (3, 9, 5, 1)  # of the texts of a batch, in tokens
SMALL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
TEXT = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
IMAGE = {"image_size": 16, "patch_size": 4}


def clip_vision():
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**SMALL, **IMAGE, projection_dim=8))


def clip_text():
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**SMALL, **TEXT))


def vit():
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(**SMALL, **IMAGE))


def deit():
    from transformers import DeiTConfig, DeiTModel

    return DeiTModel(DeiTConfig(**SMALL, **IMAGE))


def bert():
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**SMALL, **TEXT, chunk_size_feed_forward=1))


def roberta():
    from transformers import RobertaConfig, RobertaModel

    return RobertaModel(RobertaConfig(**SMALL, **TEXT))


def mpnet():
    from transformers import MPNetConfig, MPNetModel

    return MPNetModel(MPNetConfig(**SMALL, **TEXT))


def distilbert():
    from transformers import DistilBertConfig, DistilBertModel

    sizes = {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
    return DistilBertModel(DistilBertConfig(**sizes, **TEXT))


def t5(feed_forward="relu"):
    from transformers import T5Config, T5EncoderModel

    sizes = {"d_model": WIDTH, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    return T5EncoderModel(T5Config(**sizes, vocab_size=VOCABULARY, feed_forward_proj=feed_forward))


def flan_t5():
    return t5("gated-gelu")


def timm_vit(**options):
    from timm.models import VisionTransformer

    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": WIDTH, "depth": 2, "num_heads": 2}
    return VisionTransformer(**sizes, num_classes=0, mlp_ratio=1.5, **options)


def timm_registers():
    return timm_vit(init_values=0.5, reg_tokens=2, no_embed_class=True)


def open_clip_vision():
    from open_clip.transformer import VisionTransformer

    return VisionTransformer(16, 4, WIDTH, 2, 2, 1.5, output_dim=8)


def open_clip_text():
    from open_clip.transformer import TextTransformer

    return TextTransformer(CONTEXT, VOCABULARY, WIDTH, 2, 2, 1.5, output_dim=8)


@dataclass(frozen=True)
class Family:
    """How to build the model, what its inputs are ("images", "texts", "contexts": of fixed
    length, without a mask), and the names of the layers of its first block's parts."""

    build: Callable[[], torch.nn.Module]
    inputs: str
    attention: tuple[str, ...]
    mlp: tuple[str, ...]


def _names(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names)


def _bert_like(build: Callable[[], torch.nn.Module]) -> Family:
    layer = "encoder.layer.0"
    inside = ("self.query", "self.key", "self.value", "output.dense")
    attention = _names(f"{layer}.attention", *inside)
    return Family(build, "texts", attention, _names(layer, "intermediate.dense", "output.dense"))


def _clip(build: Callable[[], torch.nn.Module], inputs: str, layer: str) -> Family:
    attention = _names(f"{layer}.self_attn", "q_proj", "k_proj", "v_proj", "out_proj")
    return Family(build, inputs, attention, _names(f"{layer}.mlp", "fc1", "fc2"))


def _vit_like(build: Callable[[], torch.nn.Module]) -> Family:
    attention = _names("layers.0.attention", "q_proj", "k_proj", "v_proj", "o_proj")
    return Family(build, "images", attention, _names("layers.0.mlp", "fc1", "fc2"))


def _t5_like(build: Callable[[], torch.nn.Module], *readers: str) -> Family:
    layer = "encoder.block.0.layer"
    attention = _names(f"{layer}.0.SelfAttention", "q", "k", "v", "o")
    return Family(build, "texts", attention, _names(f"{layer}.1.DenseReluDense", *readers, "wo"))


def _timm(build: Callable[[], torch.nn.Module]) -> Family:
    attention = _names("blocks.0.attn", "qkv", "proj")
    return Family(build, "images", attention, _names("blocks.0.mlp", "fc1", "fc2"))


def _open_clip(build: Callable[[], torch.nn.Module], inputs: str) -> Family:
    block = "transformer.resblocks.0"
    return Family(build, inputs, (f"{block}.attn",), _names(f"{block}.mlp", "c_fc", "c_proj"))


MPNET_LAYER, DISTILBERT_LAYER = "encoder.layer.0", "transformer.layer.0"
FAMILIES = {
    "open_clip vision": _open_clip(open_clip_vision, "images"),
    "open_clip text": _open_clip(open_clip_text, "contexts"),
    "CLIP vision": _clip(clip_vision, "images", "vision_model.encoder.layers.0"),
    "CLIP text": _clip(clip_text, "texts", "encoder.layers.0"),
    "ViT": _vit_like(vit),
    "DeiT": _vit_like(deit),
    "BERT": _bert_like(bert),
    "RoBERTa": _bert_like(roberta),
    "MPNet": Family(
        mpnet,
        "texts",
        _names(f"{MPNET_LAYER}.attention.attn", "q", "k", "v", "o"),
        _names(MPNET_LAYER, "intermediate.dense", "output.dense"),
    ),
    "DistilBERT": Family(
        distilbert,
        "texts",
        _names(f"{DISTILBERT_LAYER}.attention", "q_lin", "k_lin", "v_lin", "out_lin"),
        _names(f"{DISTILBERT_LAYER}.ffn", "lin1", "lin2"),
    ),
    "T5": _t5_like(t5, "wi"),
    "Flan-T5": _t5_like(flan_t5, "wi_0", "wi_1"),
    "timm": _timm(timm_vit),
    "timm with registers": _timm(timm_registers),
}

TEXTS = [name for name, family in FAMILIES.items() if family.inputs == "texts"]


def built(name: str) -> torch.nn.Module:
    """The family's model with random numbers in all its tensors, also those that begin as 0."""
    torch.manual_seed(0)
    model = FAMILIES[name].build().eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@functools.cache  # tests do not change what they are given, and many ask for the same
def setting(name: str, spread: float = 0.1, **select) -> tuple[torch.nn.Module, TaskVectors]:
    """(model, task vectors) of experts near it, tied tensors being equal; `select`: see
    TaskVectors.from_states."""
    model, generator = built(name), torch.Generator().manual_seed(2)
    experts = {}
    for task in TASKS:
        expert = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in expert.parameters():
                parameter += spread * torch.randn(parameter.shape, generator=generator)
        experts[task] = expert.state_dict()
    return model, TaskVectors.from_states(model.state_dict(), experts, **select)


def inputs_of(name: str, seed: int = 3) -> list[Tensor]:
    """Four inputs: images (3, 16, 16), or ids of texts of unequal lengths."""
    generator, kind = torch.Generator().manual_seed(seed), FAMILIES[name].inputs
    if kind == "images":
        return [torch.randn(3, 16, 16, generator=generator) for _ in LENGTHS]
    lengths = LENGTHS if kind == "texts" else (CONTEXT,) * len(LENGTHS)
    return [torch.randint(3, VOCABULARY, (n,), generator=generator) for n in lengths]


def batch_of(name: str, inputs: list[Tensor], longer: int = 0) -> tuple[tuple, dict]:
    """Arguments of the model for a batch; texts are filled up, `longer` more than needed."""
    if FAMILIES[name].inputs != "texts":
        return (torch.stack(inputs),), {}
    length = longer + max(map(len, inputs))
    ids = torch.ones(len(inputs), length, dtype=torch.long)
    mask = torch.zeros(len(inputs), length, dtype=torch.long)
    for row, (text, real) in enumerate(zip(inputs, mask, strict=True)):
        ids[row, : len(text)], real[: len(text)] = text, 1
    return (ids,), {"attention_mask": mask}


def outputs(name: str, model: Callable, inputs: list[Tensor], longer: int = 0, **options) -> list:
    """What the model gives for each input of a batch: features, or those of its real tokens."""
    arguments, masks = batch_of(name, inputs, longer)
    found = model(*arguments, **masks, **options)
    if not isinstance(found, Tensor):
        found = found.image_embeds if "image_embeds" in found else found.last_hidden_state
    if FAMILIES[name].inputs != "texts":
        return list(found)
    return [rows[: len(text)] for rows, text in zip(found, inputs, strict=True)]


def plainly(name: str, model: torch.nn.Module, state: dict, inputs: list[Tensor]) -> list[Tensor]:
    """The plain model with other weights, an input at a time, without padding."""

    def call(*arguments, **options):
        return functional_call(model, state, arguments, options, strict=True)

    return [outputs(name, call, [one])[0] for one in inputs]


class Wrapped(torch.nn.Module):
    """A user's module around a transformers model: its argument has another name."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, words, which, fail=False):
        found = self.inner(words, which).last_hidden_state
        if fail:
            raise KeyError("fail")
        return (found * which.unsqueeze(2)).sum(1) / which.sum(1, keepdim=True).clamp_min(1)

    def of_one(self, words):
        return self.inner(words).last_hidden_state[:, 0]
