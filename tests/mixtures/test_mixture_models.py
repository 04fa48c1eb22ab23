"""Upscaled vision transformers against the plain one with weights merged for each image."""

import copy

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import linear
from toys import (
    LAYOUTS,
    NAMES,
    SIZE,
    images,
    setting,
    stir,
    vit,
)

import mergelib as ml
from mergelib.mixtures.model import chosen_sites
from mergelib.models.encoders import build_clip


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    monkeypatch.setattr("mergelib.models.compute.bfloat16_is_fast", lambda device: False)


def plainly(encoder, weights, x):
    return functional_call(encoder, weights, (x,))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parts", ["mlp", "attention", "both"])
@pytest.mark.parametrize("depth", [0, 1, 2])
@torch.no_grad()
def test_at_the_start_it_is_task_arithmetic(layout, parts, depth):
    encoder, tv = setting(layout)
    merged = ml.merging.task_arithmetic(tv, 0.3)
    model = ml.mixtures.upscale(encoder, tv, merged, parts, depth=depth, shared=depth == 1)
    expected = plainly(encoder, tv.layout.unflatten(merged), images())
    torch.testing.assert_close(model(images()), expected, rtol=0, atol=1e-5)
    assert (expected - plainly(encoder, tv.layout.unflatten(tv.base), images())).abs().max() > 1e-2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("parts", ["mlp", "attention", "both"])
@torch.no_grad()
def test_each_image_gets_the_weights_of_its_own_coefficients(layout, parts):
    """The plain encoder, one image at a time, with weights merged by the λ that it was given."""
    encoder, tv = setting(layout)
    rest = tv.base + 0.1 * tv.sum()
    model = stir(ml.mixtures.upscale(encoder, tv, rest, parts, depth=2))
    x, found = images(), []
    hooks = [
        p.gate.register_forward_hook(lambda gate, inputs, mix: found.append(mix))
        for p in model.parts
    ]
    got = model(x)
    for hook in hooks:
        hook.remove()
    assert len(found) == {"mlp": 2, "attention": 2, "both": 4}[parts]
    assert all(mix.std(0).min() > 1e-3 for mix in found), "the images must differ"
    base, deltas = tv.layout.unflatten(tv.base), [tv.layout.unflatten(d) for d in tv.deltas]
    for number in range(len(x)):
        state = tv.layout.unflatten(rest.clone())
        for part, mix in zip(model.parts, found, strict=True):
            for names in part.site.weights:
                for name in names:
                    merged = sum(c * d[name] for c, d in zip(mix[number], deltas, strict=True))
                    state[name] = base[name] + merged
        expected = plainly(encoder, state, x[number : number + 1])
        torch.testing.assert_close(got[number : number + 1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
@pytest.mark.parametrize("average", ["outputs", "inputs"])
@torch.no_grad()
def test_coefficients_follow_from_what_enters_the_part(layout, average):
    encoder, tv = setting(layout)
    model = ml.mixtures.upscale(encoder, tv, tv.base, blocks=(0,), depth=2, average=average)
    stir(model)
    seen = []
    block = model.encoder.transformer.resblocks[0]
    block.ln_2.register_forward_hook(lambda module, inputs, out: seen.append(out))
    pixels = torch.randint(256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    found = model.coefficients(pixels)
    router, tokens = model.routers[0], seen[0]
    if layout == "sequence first":
        tokens = tokens.transpose(0, 1)
    rows = []
    for image in tokens:  # (T, d)
        image = image.mean(0, keepdim=True) if average == "inputs" else image
        hidden = linear(image, router.hidden_weight, router.hidden_bias).clamp_min(0)
        rows.append(linear(hidden, router.weight, router.bias).mean(0))
    assert found.shape == (4, 1, 3)
    torch.testing.assert_close(found[:, 0], torch.stack(rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("parts", ["mlp", "attention", "both"])
@torch.no_grad()
def test_the_same_model_in_three_layouts_gives_the_same_features(parts):
    outputs = []
    for layout in LAYOUTS:
        encoder, tv = setting(layout)
        model = ml.mixtures.upscale(encoder, tv, tv.base + 0.2 * tv.sum(), parts, depth=2)
        outputs.append(stir(model)(images()))
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_on_a_mixed_batch_each_image_gets_what_it_gets_alone(layout):
    encoder, tv = setting(layout)
    model = stir(ml.mixtures.upscale(encoder, tv, tv.base, "both", depth=2))
    x = torch.cat([images(2, seed) * (1 + seed) for seed in range(3)])  # of three kinds
    together = model(x)
    alone = torch.cat([model(image.unsqueeze(0)) for image in x])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(model(x[order]), alone[order], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_routing_by_batch_is_the_mean_and_depends_on_the_neighbours():
    encoder, tv = setting()
    model = stir(ml.mixtures.upscale(encoder, tv, tv.base, depth=1, blocks=(0,)))
    pixels = torch.randint(256, (6, 3, SIZE, SIZE), dtype=torch.uint8)
    each, alone = model.coefficients(pixels), model(images())
    assert model.set_routing("batch").plan.routing == "batch"
    mean = each.mean(0, keepdim=True).expand(6, -1, -1)
    torch.testing.assert_close(model.coefficients(pixels), mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(images()[:1]), alone[:1], rtol=1e-5, atol=1e-5)
    assert (model(images()) - alone).abs().max() > 1e-3
    torch.testing.assert_close(model.set_routing("sample")(images()), alone)


@torch.no_grad()
def test_standardised_inputs_have_mean_zero_and_deviation_one():
    encoder, tv = setting()
    model = ml.mixtures.upscale(
        encoder, tv, tv.base, "both", depth=1, shared=True, standardise=True
    )
    pixels = torch.randint(256, (40, 3, SIZE, SIZE), dtype=torch.uint8)
    model.fit_standardisation(pixels)
    assert len(model.routers) == 1 and len({id(p.gate) for p in model.parts}) == 4
    seen = []
    for part in model.parts:
        part.gate.register_forward_hook(
            lambda gate, inputs, mix: seen.append(
                ((inputs[0] - gate.mean) / gate.deviation).mean(1)
            )
        )
    model.coefficients(pixels, batch=40)
    for means in seen:
        torch.testing.assert_close(means.mean(0), torch.zeros(16), rtol=0, atol=1e-4)
        torch.testing.assert_close(means.std(0, correction=0), torch.ones(16), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="has no standardisation"):
        ml.mixtures.upscale(encoder, tv, tv.base).fit_standardisation(pixels)


def test_only_routers_learn_and_nothing_given_is_changed():
    encoder, tv = setting()
    before, numbers = copy.deepcopy(encoder.state_dict()), tv.deltas.clone()
    model = stir(ml.mixtures.upscale(encoder, tv, tv.base, depth=2))
    model(images()).square().sum().backward()
    for name, parameter in model.named_parameters():
        inside = ".router." in name
        assert parameter.requires_grad == inside, name
        assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == inside, name
    after = encoder.state_dict()
    assert all(torch.equal(after[name], t) for name, t in before.items())
    assert torch.equal(tv.deltas, numbers)
    layer = model.parts[0].layers[0]
    inside = range(tv.deltas.data_ptr(), tv.deltas.data_ptr() + 4 * tv.deltas.numel())
    assert layer.dictionary.deltas.data_ptr() in inside, "the dictionary must not be a copy"


def test_parts_and_blocks_are_chosen():
    encoder, tv = setting()
    for parts, blocks, expected in (
        ("mlp", None, ["0.mlp", "1.mlp"]),
        ("mlp", (-1,), ["1.mlp"]),
        ("both", (0,), ["0.attn", "0.mlp"]),
        ("attention", (1, 0), ["0.attn", "1.attn"]),
    ):
        names = [s.name.removeprefix("transformer.resblocks.") for s in
                 chosen_sites(encoder, parts, blocks)]  # fmt: skip
        assert names == expected


def test_the_text_tower_is_left_alone():
    clip = build_clip("merge-vit-pico")
    assert [s.name for s in chosen_sites(clip)] == [
        f"visual.transformer.resblocks.{i}.mlp" for i in range(2)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": "head"}, "parts must be one of mlp, attention, both, not 'head'"),
        ({"blocks": (2,)}, "the encoder has 2 blocks, so there is no block 2"),
        ({"depth": 3}, "a router has depth 0, 1 or 2, not 3"),
        ({"average": "mean"}, "average must be one of outputs, inputs, not 'mean'"),
        ({"routing": "task"}, "routing must be one of sample, batch, not 'task'"),
        ({"start": ml.mixtures.Start(init=float("nan"))}, "init must be finite"),
    ],
)
def test_what_there_is_not_is_named(change, message):
    encoder, tv = setting()
    with pytest.raises(ValueError, match=message):
        ml.mixtures.upscale(encoder, tv, tv.base, **change)


def test_an_encoder_of_another_kind_is_refused():
    _, tv = setting()
    with pytest.raises(ValueError, match="Linear has no transformer block"):
        chosen_sites(torch.nn.Linear(2, 2))
    encoder = vit()
    encoder.transformer.resblocks[1].attn = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"resblocks.1 .*found attn \(Linear\)"):
        chosen_sites(encoder, "attention")
    assert len(chosen_sites(encoder)) == 2, "the MLPs can be had whatever the attention is"
    other = vit()
    other.extra = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="'extra.weight' .*of the model is missing"):
        ml.mixtures.upscale(other, tv, tv.base)


def published_size(architecture, shared, depth=2):
    """Sizes of a mixture of 8 tasks in the setting of the papers, without memory.

    Their checkpoints hold CLIP without the text transformer, but with its other tensors.
    """
    with torch.device("meta"):
        clip = build_clip(architecture)
    del clip.transformer
    names = tuple("abcdefgh")
    base = {name: t for name, t in clip.state_dict().items()}
    layout = ml.Layout.from_state(base)
    numbers = torch.empty(layout.size, device="meta")
    tv = ml.TaskVectors(names, numbers, numbers.new_empty(8, layout.size), layout)
    model = ml.mixtures.upscale(clip, tv, numbers, depth=depth, shared=shared)
    return model.sizes()


def test_counts_of_wemoe_are_the_published_ones():
    sizes = published_size("ViT-B-32", shared=False)
    assert f"{sizes['trainable'] / 1e6:.2f} {sizes['total'] / 1e6:.2f}" == "7.16 573.96"
    assert sizes["trainable"] == 12 * 596_744


@pytest.mark.parametrize(
    ("architecture", "depth", "count"),
    [("ViT-B-32", 2, 596_744), ("ViT-L-14", 2, 1_057_800), ("ViT-B-32", 1, 6_152)],
)
def test_counts_of_the_shared_router_are_the_published_ones(architecture, depth, count):
    assert published_size(architecture, shared=True, depth=depth)["trainable"] == count


def test_names_are_those_of_the_tasks():
    encoder, tv = setting()
    assert ml.mixtures.upscale(encoder, tv, tv.base).plan.tasks == NAMES
