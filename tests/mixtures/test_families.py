"""Mixtures of every family of transformers against the plain model, an input at a time."""

import copy

import pytest
import torch
from families import (
    FAMILIES,
    LENGTHS,
    TEXTS,
    Wrapped,
    batch_of,
    inputs_of,
    outputs,
    plainly,
    setting,
)
from toys import stir

import mergelib as ml
from mergelib.mixtures import load_mixture, save_mixture, upscale

NEAR = {"rtol": 0, "atol": 1e-5}


def mixture(model, tv, parts="both", **plan):
    rest = tv.base + 0.3 * tv.sum()
    return upscale(model, tv, rest, parts, **{"depth": 2, **plan})


def each(name, model, inputs) -> torch.Tensor:
    """λ of every input (N, parts, K), each run by itself and without padding."""

    def run():
        for one in inputs:
            outputs(name, model, [one])

    return model.coefficients(run)


def spread_out(model, inputs, name):
    """λ of routers that tell these inputs apart, of the usual size: 1e-5 is absolute."""
    stir(model)
    with torch.no_grad():
        for router in model.routers:
            for parameter in router.parameters():
                parameter *= 0.15 * router.depth
    found = each(name, model, inputs)
    assert found.std(0).min() > 1e-3, "the inputs must differ"
    return found


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("parts", ["mlp", "attention", "both"])
@torch.no_grad()
def test_at_the_start_it_is_task_arithmetic(name, parts):
    model, tv = setting(name)
    inputs, merged = inputs_of(name), ml.merging.task_arithmetic(tv, 0.3)
    expected = plainly(name, model, tv.layout.state_for(model, merged), inputs)
    for depth in (1, 2):
        mixed = upscale(model, tv, merged, parts, depth=depth, shared=depth == 1)
        for one, other in zip(outputs(name, mixed, inputs), expected, strict=True):
            torch.testing.assert_close(one, other, **NEAR)
    base = plainly(name, model, tv.layout.state_for(model, tv.base), inputs)
    assert min((a - b).abs().max() for a, b in zip(base, expected, strict=True)) > 1e-2


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("average", ["inputs", "outputs"])
@torch.no_grad()
def test_each_input_gets_the_weights_of_its_own_coefficients(name, average):
    model, tv = setting(name)
    mixed, inputs = mixture(model, tv, average=average), inputs_of(name)
    found = spread_out(mixed, inputs, name)
    got = outputs(name, mixed, inputs)
    base, deltas = tv.layout.unflatten(tv.base), tv.layout.split(tv.deltas)
    for number, one in enumerate(inputs):
        weights = (tv.base + 0.3 * tv.sum()).clone()
        views = tv.layout.split(weights)
        for part, mix in zip(mixed.parts, found[number], strict=True):
            for tensor in (n for pair in part.site.weights for n in pair if n is not None):
                views[tensor].copy_(base[tensor] + torch.einsum("k,k...", mix, deltas[tensor]))
        (expected,) = plainly(name, model, tv.layout.state_for(model, weights), [one])
        torch.testing.assert_close(got[number], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("depth", [1, 2])
@torch.no_grad()
def test_neighbours_and_padding_do_not_matter(name, depth):
    model, tv = setting(name)
    mixed, inputs = mixture(model, tv, depth=depth, standardise=True), inputs_of(name)
    mixed.fit_standardisation(lambda: outputs(name, mixed, inputs_of(name, seed=8)))
    spread_out(mixed, inputs, name)
    alone = [outputs(name, mixed, [one])[0] for one in inputs]
    order = [2, 0, 3, 1]
    for longer in (0, 6):
        together = outputs(name, mixed, [inputs[i] for i in order], longer)
        for place, number in enumerate(order):
            torch.testing.assert_close(together[place], alone[number], **NEAR)


@pytest.mark.parametrize("name", TEXTS)
@torch.no_grad()
def test_coefficients_and_standardisation_leave_padding_out(name):
    model, tv = setting(name)
    mixed, inputs = mixture(model, tv, depth=1, standardise=True), inputs_of(name)
    mixed.fit_standardisation(lambda: outputs(name, mixed, inputs, longer=4))
    once = copy.deepcopy(mixed)
    once.fit_standardisation(lambda: [outputs(name, once, [one]) for one in inputs])
    for part, other in zip(mixed.parts, once.parts, strict=True):
        torch.testing.assert_close(part.gate.mean, other.gate.mean, **NEAR)
        torch.testing.assert_close(part.gate.deviation, other.gate.deviation, **NEAR)
    spread_out(mixed, inputs, name)
    together = mixed.coefficients(lambda: outputs(name, mixed, inputs, longer=4))
    torch.testing.assert_close(together, each(name, mixed, inputs), **NEAR)
    plain = mixed.at_gates(
        lambda: outputs(name, mixed, inputs, longer=4), lambda x, real, mix: real.sum(1)
    )
    assert all(counts.tolist() == list(LENGTHS) for counts in plain)


@pytest.mark.parametrize("name", ["BERT", "T5"])
@torch.no_grad()
def test_masks_are_those_of_the_call_whoever_gives_them_and_forgotten_after_it(name):
    model, tv = setting(name)
    inner, wrapped = mixture(model, tv), Wrapped(model)
    renamed = ml.TaskVectors.from_states(
        wrapped.state_dict(),
        {
            task: {f"inner.{n}": t for n, t in tv.layout.unflatten(tv.base + d).items()}
            for task, d in zip(tv.tasks, tv.deltas, strict=True)
        },
    )
    outer = mixture(wrapped, renamed)
    stir(inner), stir(outer)
    (ids,), masks = batch_of(name, inputs_of(name), 3)
    mask = masks["attention_mask"]
    expected = Wrapped(inner)(ids, mask)
    torch.testing.assert_close(outer(ids, mask), expected, **NEAR)
    torch.testing.assert_close(outer(ids, mask.bool()), expected, **NEAR)
    bare = outer.of_one(ids)  # a method of the user's, without a mask
    with pytest.raises(KeyError, match="fail"):
        outer(ids, mask, fail=True)
    torch.testing.assert_close(outer.of_one(ids), bare, rtol=0, atol=0)
    assert (bare - outer.of_one(ids[:, :4])).abs().max() > 1e-3
    # A row without a real token gives numbers, and does not disturb the others.
    mask[1] = 0
    found = outer(ids, mask)
    assert found.isfinite().all()
    rest = [0, 2, 3]
    torch.testing.assert_close(found[rest], expected[rest], **NEAR)
    copied = copy.deepcopy(outer)
    torch.testing.assert_close(copied(ids, mask), found, rtol=0, atol=0)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_saved_mixture_is_the_same_when_loaded(name, sparse, tmp_path):
    model, tv = setting(name)
    mixed, inputs = mixture(model, tv, sparse=sparse, shared=True), inputs_of(name)
    spread_out(mixed, inputs, name)
    mixed.save(tmp_path / "mixture.safetensors")
    loaded = load_mixture(tmp_path / "mixture.safetensors", FAMILIES[name].build())
    assert loaded.plan == mixed.plan and loaded.sizes() == mixed.sizes()
    assert all(torch.equal(t, loaded.learnt()[n]) for n, t in mixed.learnt().items())
    with torch.no_grad():
        pairs = zip(outputs(name, loaded, inputs), outputs(name, mixed, inputs), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


@torch.no_grad()
def test_tensors_that_task_vectors_leave_out_are_the_models_own(tmp_path):
    name = "BERT"
    model, tv = setting(name, ignore=("embeddings.*", "pooler.*", "*.intermediate.dense.bias"))
    mixed, inputs = mixture(model, tv), inputs_of(name)
    found, deltas = spread_out(mixed, inputs, name), tv.layout.split(tv.deltas)
    base = tv.layout.unflatten(tv.base)
    got = outputs(name, mixed, inputs)
    for number, one in enumerate(inputs):
        weights = (tv.base + 0.3 * tv.sum()).clone()
        views = tv.layout.split(weights)
        for part, mix in zip(mixed.parts, found[number], strict=True):
            for tensor in (n for pair in part.site.weights for n in pair if n in views):
                views[tensor].copy_(base[tensor] + torch.einsum("k,k...", mix, deltas[tensor]))
        (expected,) = plainly(name, model, tv.layout.state_for(model, weights), [one])
        torch.testing.assert_close(got[number], expected, rtol=1e-5, atol=1e-5)
    save_mixture(mixed, tmp_path / "mixture.safetensors")
    loaded = load_mixture(tmp_path / "mixture.safetensors", FAMILIES[name].build())
    for one, other in zip(outputs(name, loaded, inputs), got, strict=True):
        assert torch.equal(one, other)


def test_gradients_reach_the_routers_of_a_padded_batch():
    model, tv = setting("T5")
    mixed, inputs = mixture(model, tv), inputs_of("T5")
    sum(rows.square().sum() for rows in outputs("T5", stir(mixed), inputs, 2)).backward()
    for router in mixed.routers:
        for parameter in router.parameters():
            assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0


def test_sites_can_be_given_and_one_that_does_not_run_is_named():
    from mergelib.models.sites import sites

    model, tv = setting("BERT")
    chosen = [site for site in sites(model) if site.layers[0].endswith("1.intermediate.dense")]
    mixed = upscale(model, tv, tv.base, chosen)
    assert mixed.plan.sites == ("encoder.layer.1",) and mixed.tasks == tv.tasks
    with pytest.raises(ValueError, match="encoder.layer.1 is a mixture, but it did not run"):
        mixed.coefficients(lambda: None)
    with pytest.raises(ValueError, match="needs a site at least"):
        upscale(model, tv, tv.base, [])


@pytest.mark.parametrize("name", FAMILIES)
def test_cost_is_that_of_the_layers_for_as_many_real_tokens(name):
    model, tv = setting(name)
    few, many = (mixture(model, tv, depth=1).cost(tokens) for tokens in (40, 80))
    assert few["routing"] == many["routing"] == 4 * 3 * 16
    inside = [t for n, t in model.named_parameters() if any(w.isdigit() for w in n.split("."))]
    blocks = sum(t.numel() for t in inside if t.dim() == 2 and t.shape[0] != 32)
    attended = 2 * 2 * (12 if "T5" in name else 16)  # two blocks
    once = few["products"] - 40 * blocks - 40**2 * attended
    again = many["products"] - 80 * blocks - 80**2 * attended
    patches = [t for t in model.parameters() if t.dim() == 4]
    assert again - once == 40 * sum(t.numel() for t in patches)
    mixed = sum(
        t.numel() for n, t in tv.layout.split(tv.base).items()
        if n in {x for part in mixture(model, tv).parts for p in part.site.weights for x in p}
    )  # fmt: skip
    assert few["mixing"] == many["mixing"] == 3 * mixed
    if FAMILIES[name].inputs == "texts":
        with pytest.raises(ValueError, match="say how many"):
            mixture(model, tv).cost()
