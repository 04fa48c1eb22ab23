"""The parts of every family's blocks: their names, the order of their layers, and refusals."""

import pytest
import torch
from families import FAMILIES, WIDTH, batch_of, built, inputs_of

from mergelib.mixtures.model import chosen_sites
from mergelib.models.encoders import build_clip
from mergelib.models.sites import known_sites, part, replace, sites


@pytest.mark.parametrize("name", FAMILIES)
def test_the_parts_of_a_family_have_these_names(name):
    family, found = FAMILIES[name], sites(built(name))
    assert [(s.block, s.kind) for s in found] == [
        (block, kind) for block in range(2) for kind in ("attention", "mlp")
    ]
    assert (found[0].layers, found[1].layers) == (family.attention, family.mlp)
    for first, second in zip(found[:2], found[2:], strict=True):
        later = [words.split(".") for words in first.layers]
        for words in later:  # the block's number is the first number in all these names
            words[next(i for i, word in enumerate(words) if word.isdigit())] = "1"
        assert second.layers == tuple(map(".".join, later))
    for site in found:
        assert site.width == WIDTH and site.batch_first
        assert all(layer.startswith(site.name) for layer in site.layers)
        assert site.name.startswith(site.place)
        assert len(site.weights) == (2 if site.heads else len(site.layers))
    assert len({site.name for site in found}) == 4


@pytest.mark.parametrize("name", FAMILIES)
def test_all_tensors_of_a_part_are_named_and_there(name):
    model = built(name)
    tensors = dict(model.named_parameters())
    for site in sites(model):
        named = {name for pair in site.weights for name in pair if name is not None}
        inside = {n for n in tensors if any(n.startswith(f"{layer}.") for layer in site.layers)}
        assert named == inside


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_layers_run_in_that_order_and_the_readers_read_the_same(name):
    model, seen = built(name), []
    found = [site for site in sites(model) if not site.heads]
    for site in found:
        for layer in site.layers:
            part(model, layer).register_forward_pre_hook(
                lambda module, inputs, layer=layer: seen.append((layer, inputs[0]))
            )
    arguments, options = batch_of(name, inputs_of(name)[:1])
    if "BERT" in name:  # chunks of a feed-forward layer
        for module in model.modules():
            module.chunk_size_feed_forward = 0
    model(*arguments, **options)
    assert [layer for layer, _ in seen] == [layer for site in found for layer in site.layers]
    read = dict(seen)
    for site in found:
        first = read[site.layers[0]]
        assert all(torch.equal(read[layer], first) for layer in site.layers[1 : site.readers])
        assert first.shape[2] == site.width and site.readers == len(site.layers) - 1


def broken(name: str, kind: str) -> tuple[torch.nn.Module, str]:
    """The model with a part of its second block of another kind, and the name of that part."""
    model = built(name)
    site = next(s for s in sites(model) if s.block == 1 and s.kind == kind)
    replace(model, site.layers[-1], torch.nn.Conv1d(2, 2, 1))
    return model, site.layers[-1].removeprefix(f"{site.place}.")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", ["mlp", "attention"])
def test_only_what_is_asked_for_is_looked_at(name, kind):
    model, inside = broken(name, kind)
    other = {"mlp": "attention", "attention": "mlp"}[kind]
    assert len(chosen_sites(model, other)) == 2
    assert len(chosen_sites(model, "both", blocks=(0,))) == 2
    assert len(known_sites(model)) == 3
    with pytest.raises(ValueError) as error:
        chosen_sites(model, kind)
    message, title = str(error.value), {"mlp": "the MLP of", "attention": "the attention of"}[kind]
    assert message.startswith(title) and f"{inside} (Conv1d)" in message
    assert "\n" not in message and ". " not in message


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (torch.nn.Linear(2, 2), "Linear has no transformer block .*: found itself [(]Linear[)]"),
        (
            torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()),
            r"Sequential has no .*: found 0 \(Linear\), 1 \(ReLU\)",
        ),
        (
            torch.nn.Sequential(*[torch.nn.ReLU() for _ in range(30)]),
            r"7 \(ReLU\) and 22 more$",
        ),
    ],
)
def test_a_model_without_blocks_is_refused_with_what_it_has(model, found):
    with pytest.raises(ValueError, match=found):
        sites(model)


def test_attention_in_windows_is_refused():
    model = built("timm")
    model.blocks[0].window_size = 4
    with pytest.raises(ValueError, match="the attention of blocks.0"):
        chosen_sites(model, "attention")
    assert len(chosen_sites(model)) == 2


@pytest.mark.parametrize(
    "options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 8}], ids=str
)
def test_attention_of_torch_with_more_than_one_projection_is_refused(options):
    model = built("open_clip vision")
    model.transformer.resblocks[1].attn = torch.nn.MultiheadAttention(WIDTH, 2, **options)
    with pytest.raises(ValueError, match=r"attention of transformer.resblocks.1 .*found attn"):
        chosen_sites(model, "attention")


def test_of_two_towers_that_which_sees_is_meant_and_of_an_encoder_and_decoder_the_first():
    clip = build_clip("merge-vit-pico")
    assert {s.name.split(".")[0] for s in sites(clip)} == {"visual"}
    del clip.visual
    assert {s.name.split(".")[0] for s in sites(clip)} == {"transformer"}
    from transformers import T5Config, T5Model

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
    model = T5Model(T5Config(**sizes, vocab_size=30))
    assert {s.name.split(".")[0] for s in sites(model)} == {"encoder"}


def test_older_layouts_of_vision_transformers_are_known():
    """Up to transformers 4 a ViT's block was built as BERT's is."""
    block = torch.nn.ModuleDict(
        {
            "attention": torch.nn.ModuleDict(
                {
                    "attention": torch.nn.ModuleDict(
                        {n: torch.nn.Linear(4, 4) for n in ("query", "key", "value")}
                    ),
                    "output": torch.nn.ModuleDict({"dense": torch.nn.Linear(4, 4)}),
                }
            ),
            "intermediate": torch.nn.ModuleDict({"dense": torch.nn.Linear(4, 8)}),
            "output": torch.nn.ModuleDict({"dense": torch.nn.Linear(8, 4)}),
        }
    )
    names = [s.name for s in sites(torch.nn.ModuleList([block]))]
    assert names == ["0.attention", "0"]
