"""Twin models of every family of transformers against the plain model, an input at a time."""

import copy

import pytest
import torch
from families import (
    FAMILIES,
    TASKS,
    TEXTS,
    Wrapped,
    batch_of,
    built,
    inputs_of,
    outputs,
    plainly,
    setting,
)

import mergelib as ml
from mergelib.mixtures import load_twin, recompressed
from mergelib.mixtures.twin.making import twin_model

LEFT_SHARED = {
    "MPNet": ("encoder.relative_attention_bias.weight",),
    "T5": ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",),
    "Flan-T5": ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",),
}
pytestmark = pytest.mark.filterwarnings("ignore:tensor .* differs between the experts")


def made(name, rank=1.0, **select):
    model, tv = setting(name, **select)
    return model, tv, twin_model(model, tv, 0.29, rank)


def mix_of(inputs):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(inputs), len(TASKS), generator=generator).softmax(1)


def mixed(twin, mix):
    """The twin with coefficients that are given, called as the plain model is."""
    return lambda *inputs, **options: twin.mixed(*inputs, mix, **options)


def expected(name, model, tv, twin, inputs, mix):
    """θ* + Σ c v for each input by itself, in the tensors that are mixed."""
    shared = tv.base + 0.29 * tv.sum()
    rows = []
    for one, c in zip(inputs, mix, strict=True):
        weights = shared + c @ (tv.base + tv.deltas - shared)
        views, plain = tv.layout.split(weights), tv.layout.split(shared)
        for left in twin.left_shared:
            views[left].copy_(plain[left])
        rows += plainly(name, model, tv.layout.state_for(model, weights), [one])
    return rows


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_each_input_gets_its_own_weights_wherever_they_can_be_mixed(name):
    model, tv, twin = made(name)
    inputs, order = inputs_of(name), [2, 0, 3, 1]
    mix = mix_of(inputs)
    wanted = expected(name, model, tv, twin, inputs, mix)
    for longer in (0, 6):
        some = [inputs[i] for i in order]
        got = outputs(name, mixed(twin, mix[order]), some, longer)
        for place, number in enumerate(order):
            torch.testing.assert_close(got[place], wanted[number], rtol=1e-5, atol=1e-5)
    assert twin.left_shared == LEFT_SHARED.get(name, ())


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_the_router_reads_the_last_real_tokens_of_the_shared_expert(name):
    model, tv, twin = made(name)
    with torch.no_grad():
        for parameter in twin.router.parameters():
            parameter *= 3  # or the shares are all about a third
    inputs, seen = inputs_of(name), []
    merged = copy.deepcopy(model)
    merged.load_state_dict(tv.layout.state_for(model, ml.merging.task_arithmetic(tv, 0.29)), False)
    last = merged.get_submodule(twin.last_block)
    last.register_forward_hook(lambda m, i, out: seen.append(out[0] if type(out) is tuple else out))
    for one in inputs:
        outputs(name, merged, [one])
    wanted = torch.cat([tokens.mean(1) for tokens in seen])
    (values, *_), masks = batch_of(name, inputs, 5)
    torch.testing.assert_close(twin.shared_tokens(values, **masks), wanted, rtol=1e-5, atol=1e-5)
    shares = twin.router(wanted).softmax(1)
    found = twin.coefficients(lambda: outputs(name, twin, inputs, 5))
    torch.testing.assert_close(found[:, 0], shares, rtol=0, atol=1e-5)
    own = expected(name, model, tv, twin, inputs, shares)
    for one, other in zip(outputs(name, twin, inputs, 5), own, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LEFT_SHARED)
def test_what_cannot_be_mixed_is_said_once(name):
    model, tv = setting(name)
    with pytest.warns(
        UserWarning, match="relative_attention_bias.weight.* shared expert's"
    ) as said:
        twin_model(model, tv)
    assert len(said) == 1


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_twin_is_the_same_when_loaded_and_another_rank_has_its_router(name, tmp_path):
    model, tv, twin = made(name, rank=0.3)
    twin.save(tmp_path / "twin.safetensors")
    loaded = load_twin(tmp_path / "twin.safetensors", FAMILIES[name].build())
    assert loaded.sizes() == twin.sizes() and loaded.tasks == twin.tasks == TASKS
    assert loaded.left_shared == twin.left_shared
    assert all(torch.equal(t, loaded.learnt()[n]) for n, t in twin.learnt().items())
    other, inputs = recompressed(loaded, model, tv, 0.29, 1.0), inputs_of(name)
    with torch.no_grad():
        pairs = zip(outputs(name, loaded, inputs), outputs(name, twin, inputs), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        got = [m.coefficients(lambda m=m: outputs(name, m, inputs)) for m in (twin, other)]
        assert torch.equal(*got)
    assert other.sizes()["exclusive"] > twin.sizes()["exclusive"]


@torch.no_grad()
def test_tensors_that_task_vectors_leave_out_are_the_models_own(tmp_path):
    name = "T5"
    model, tv, twin = made(name, ignore=("encoder.embed_tokens.*", "*relative*", "*layer_norm*"))
    inputs = inputs_of(name)
    mix = mix_of(inputs)
    assert not twin.left_shared and "shared.weight" in twin.exclusive.names()
    wanted = expected(name, model, tv, twin, inputs, mix)
    for one, other in zip(outputs(name, mixed(twin, mix), inputs), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    twin.save(tmp_path / "twin.safetensors")
    loaded = load_twin(tmp_path / "twin.safetensors", built(name))
    for one, other in zip(outputs(name, mixed(loaded, mix), inputs), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_it_is_called_as_the_users_own_model_and_by_its_methods():
    name = "BERT"
    model, tv, twin = made(name)
    experts = {
        t: tv.layout.unflatten(tv.base + d) for t, d in zip(tv.tasks, tv.deltas, strict=True)
    }
    wrapped = Wrapped(model)
    named = {t: {f"inner.{n}": v for n, v in state.items()} for t, state in experts.items()}
    outer = twin_model(wrapped, ml.TaskVectors.from_states(wrapped.state_dict(), named), 0.29, 1.0)
    outer.router.load_state_dict(twin.router.state_dict())
    (ids,), masks = batch_of(name, inputs_of(name), 2)
    rows = twin(ids, **masks).last_hidden_state
    mask = masks["attention_mask"].unsqueeze(2)
    pooled = (rows * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(outer(ids, masks["attention_mask"]), pooled, rtol=0, atol=1e-5)
    first = twin(ids).last_hidden_state[:, 0]
    torch.testing.assert_close(outer.of_one(ids), first, rtol=0, atol=1e-5)
    with pytest.raises(RuntimeError, match="'inner' is a part of a Twin model"):
        outer.inner(ids)
    with pytest.raises(AttributeError):
        outer.nothing  # noqa: B018


@pytest.mark.parametrize("name", TEXTS)
def test_cost_of_a_text_is_twice_the_products_of_the_plain_model(name):
    from mergelib.models.products import encoder_products

    model, tv, twin = made(name)
    plain = copy.deepcopy(model)
    found = {tokens: twin.cost(tokens) for tokens in (10, 20)}
    for tokens, cost in found.items():
        assert cost["products"] == 2 * encoder_products(plain, tokens)
    assert found[20]["mixing"] > found[10]["mixing"]
    with pytest.raises(ValueError, match="say how many"):
        twin.cost()


@torch.no_grad()
def test_a_table_of_positions_that_is_not_all_used_is_not_guessed_at():
    model, tv, twin = made("ViT")
    twin.encoder.embeddings.position_embeddings.data = torch.zeros(1, 5, 16)
    with pytest.raises(ValueError, match="position_embeddings has 17 rows, but .* only 5 tokens"):
        patches = torch.zeros(1, 5, 16)
        twin.exclusive.coefficients = torch.ones(1, 3)
        twin.encoder.layers[0](patches)
