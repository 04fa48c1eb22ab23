"""Merged tensors in modules of one's own: complete states, and modules that do not fit."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from mergelib import CheckpointError, Layout, TaskVectors, merging


class Body(nn.Module):
    """Tokens (B, T) to (B, 6), with a mask of positions that state dicts do not show."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.Embedding(11, 6)
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("positions", torch.linspace(0, 1, 6), persistent=False)
        self.register_buffer("ids", torch.arange(6))

    def forward(self, tokens):
        return self.norm(self.embeddings(tokens).mean(1) * self.positions)


class Classifier(nn.Module):
    """A body with a head of so many classes."""

    def __init__(self, classes=3):
        super().__init__()
        self.body = Body()
        self.head = nn.Linear(6, classes)

    def forward(self, tokens):
        return self.head(self.body(tokens))


class Language(nn.Module):
    """A body whose embeddings are read backwards too: one parameter, two names, as in BERT."""

    def __init__(self):
        super().__init__()
        self.body = Body()
        self.decoder = nn.Linear(6, 11)
        self.decoder.weight = self.body.embeddings.weight

    def forward(self, tokens):
        return self.decoder(self.body(tokens))


def drawn(kind, *arguments, seed=0):
    torch.manual_seed(seed)
    return kind(*arguments).eval()


def vectors(kind, *arguments, drop=(), **patterns):
    """Task vectors of two experts of such modules, whose files lack the tensors `drop`."""
    states = [drawn(kind, *arguments, seed=seed).state_dict() for seed in range(3)]
    states = [{n: t for n, t in state.items() if n not in drop} for state in states]
    return TaskVectors.from_states(states[0], dict(zip("ab", states[1:], strict=True)), **patterns)


TOKENS = torch.arange(22).view(2, 11) % 11


def test_the_rest_comes_from_the_module_itself():
    tv, module = vectors(Classifier, ignore=["head.*"]), drawn(Classifier, 7, seed=9)
    tv.layout.require_fits(module)
    merged = merging.task_arithmetic(tv, 0.3)
    before = {n: t.clone() for n, t in module.state_dict().items()}
    state = tv.layout.state_for(module, merged)
    found = functional_call(module, state, (TOKENS,), strict=True)

    loaded = drawn(Classifier, 7, seed=9)
    loaded.load_state_dict(tv.layout.unflatten(merged), strict=False)
    assert found.shape == (2, 7) and torch.equal(found, loaded(TOKENS))
    assert state["head.weight"].data_ptr() == module.head.weight.data_ptr()
    assert state["body.positions"] is not None and not state["head.weight"].requires_grad
    assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())


def test_gradients_flow_to_the_vector_and_to_nothing_else():
    tv, module = vectors(Classifier, ignore=["head.*"]), drawn(Classifier)
    vector = tv.base.clone().requires_grad_()
    state = tv.layout.state_for(module, vector)
    functional_call(module, state, (TOKENS,), strict=True).square().sum().backward()
    by_name = tv.layout.split(vector.grad)
    assert not by_name["body.norm.running_mean"].any()  # a buffer: no operation has its gradient
    module.load_state_dict(tv.layout.unflatten(tv.base), strict=False)
    module(TOKENS).square().sum().backward()
    for name, parameter in module.body.named_parameters():
        torch.testing.assert_close(by_name[f"body.{name}"], parameter.grad)
    module.zero_grad()
    functional_call(module, tv.layout.state_for(module, vector), (TOKENS,)).sum().backward()
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("drop", ["decoder.weight", "body.embeddings.weight"])
def test_the_other_name_of_a_tied_parameter_follows(drop):
    """Files from transformers have one of the names."""
    tv, module = vectors(Language, drop=[drop]), drawn(Language, seed=9)
    tv.layout.require_fits(module)
    vector = (tv.base + 0.3 * tv.sum()).requires_grad_()
    state = tv.layout.state_for(module, vector)
    assert state["decoder.weight"] is state["body.embeddings.weight"]
    found = functional_call(module, state, (TOKENS,), strict=True)
    loaded = drawn(Language, seed=9)
    loaded.load_state_dict(tv.layout.unflatten(vector), strict=False)
    torch.testing.assert_close(found, loaded(TOKENS), rtol=0, atol=0)
    found.square().sum().backward()
    loaded(TOKENS).square().sum().backward()
    name = next(n for n in ("decoder.weight", "body.embeddings.weight") if n != drop)
    gradient = tv.layout.split(vector.grad)[name]
    torch.testing.assert_close(gradient, loaded.decoder.weight.grad)


def test_a_tied_parameter_that_is_merged_under_both_names_is_their_mean():
    tv, module = vectors(Language), drawn(Language)
    tv.layout.require_fits(module)
    vector = (tv.base + 0.3 * tv.sum()).requires_grad_()
    state, parts = tv.layout.state_for(module, vector), tv.layout.split(vector)
    one, other = parts["decoder.weight"], parts["body.embeddings.weight"]
    assert torch.equal(state["decoder.weight"], one) and torch.equal(one, other)
    functional_call(module, state, (TOKENS,), strict=True).square().sum().backward()
    gradients = tv.layout.split(vector.grad)
    halves = gradients["decoder.weight"], gradients["body.embeddings.weight"]
    torch.testing.assert_close(*halves)
    single = vectors(Language, drop=["decoder.weight"])
    alone = (single.base + 0.3 * single.sum()).requires_grad_()
    state = single.layout.state_for(module, alone)
    functional_call(module, state, (TOKENS,), strict=True).square().sum().backward()
    whole = single.layout.split(alone.grad)["body.embeddings.weight"]
    torch.testing.assert_close(sum(halves), whole)


def test_three_names_of_equal_tensors_keep_their_value_to_the_bit():
    module = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))
    for linear in module[1:]:
        linear.weight = module[0].weight
    layout = Layout.from_state(module.state_dict())
    vector = torch.rand(16, generator=torch.Generator().manual_seed(0)).repeat(3)
    assert torch.equal(layout.state_for(module, vector)["1.weight"].reshape(-1), vector[:16])


def test_a_tied_head_that_was_left_out_is_the_modules_own():
    """Neither name is merged: nothing follows."""
    patterns = {"ignore": ["decoder.*", "*.embeddings.*"]}
    tv, module = vectors(Language, **patterns), drawn(Language, seed=9)
    tv.layout.require_fits(module)
    state = tv.layout.state_for(module, tv.base)
    assert state["decoder.weight"].data_ptr() == module.decoder.weight.data_ptr()
    functional_call(module, state, (TOKENS,), strict=True)


def test_the_state_is_of_the_vectors_type():
    """A float64 vector for numerical checks, a module of half precision: no mixture of types."""
    tv = vectors(Classifier, ignore=["head.*"])
    for module in (drawn(Classifier), drawn(Classifier).half()):
        for vector in (tv.base, tv.base.double()):
            state = tv.layout.state_for(module, vector)
            floating = {t.dtype for t in state.values() if t.is_floating_point()}
            assert floating == {vector.dtype} and state["body.ids"].dtype == torch.int64
            assert functional_call(module, state, (TOKENS,), strict=True).dtype == vector.dtype


def test_buffers_of_floating_type_are_merged():
    tv, module = vectors(Classifier, ignore=["head.*"]), drawn(Classifier)
    moved = tv.base + 1
    state = tv.layout.state_for(module, moved)
    assert torch.equal(state["body.norm.running_mean"], torch.ones(6))
    assert "body.norm.running_mean" in tv.layout.names


def fit(tv, module):
    tv.layout.require_fits(module)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: fit(vectors(Classifier), Body()),
            "tensor 'body.embeddings.weight' (and 6 more) of base is missing from the model",
        ),
        (
            lambda: fit(vectors(Classifier, ignore=["head.*"]), Body()),
            "tensor 'body.embeddings.weight' (and 4 more) of base is missing from the model; "
            "every name of the task vectors begins with 'body.', the model's do not: pass the "
            "model that has it as its part 'body'",
        ),
        (
            lambda: fit(vectors(Body), Classifier()),
            "tensor 'embeddings.weight' (and 4 more) of base is missing from the model; "
            "the model's names begin with 'body.': pass its part 'body' instead",
        ),
        (
            lambda: fit(vectors(Classifier, ignore=["head.*"]), nn.ModuleDict({"trunk": Body()})),
            "tensor 'body.embeddings.weight' (and 4 more) of base is missing from the model; "
            "every name of the task vectors begins with 'body.' where the model's have 'trunk.': "
            "rename the tensors of one of them",
        ),
        (
            lambda: fit(vectors(Classifier, ignore=["*.bias"]), Classifier(4)),
            "tensor 'head.weight' has shape (3, 6) in base but (4, 6) in the model",
        ),
        (
            lambda: fit(vectors(Classifier, drop=["head.weight", "head.bias"]), Classifier()),
            "tensor 'head.weight' (and 1 more) of the model is missing from base; task vectors "
            "made with only=['body.*'] leave it to the model",
        ),
        (
            lambda: fit(vectors(Body, drop=["embeddings.weight"], only=["norm.*"]), Body()),
            None,
        ),
        (
            lambda: fit(
                vectors(Classifier, ignore=["head.b*"], drop=["head.weight"]), Classifier()
            ),
            "tensor 'head.weight' of the model is missing from base; task vectors made with "
            "only=['body.*'] leave it to the model",
        ),
        (
            lambda: fit(vectors(Body, drop=["norm.bias"]), Body()),
            "tensor 'norm.bias' of the model is missing from base",
        ),
        (
            lambda: fit(
                TaskVectors.from_states(*[{"ids": torch.ones(6)}, {"a": {"ids": torch.ones(6)}}]),
                Body(),
            ),
            "tensor 'ids' of base is merged but is int64 in the model",
        ),
        (
            lambda: vectors(Classifier).layout.state_for(Body(), torch.zeros(111)),
            "tensor 'body.embeddings.weight' (and 6 more) of base is missing from the model",
        ),
    ],
)
def test_a_module_that_does_not_fit_is_refused_in_one_sentence(make, says):
    if says is None:
        return make()
    with pytest.raises(CheckpointError) as error:
        make()
    assert str(error.value) == says


def test_positions_that_state_dicts_do_not_show_do_not_count():
    """A file of an older release has them; the module has them too, but not in its state dict."""
    state = Body().state_dict() | {"positions": torch.ones(6)}
    with pytest.raises(CheckpointError, match="'positions' of base is missing from the model"):
        Layout.from_state(state).require_fits(Body())
    layout = Layout.from_state(state, ignore=["positions"])
    layout.require_fits(Body())
    assert torch.equal(layout.state_for(Body(), torch.zeros(layout.size))["positions"],
                       Body().positions)  # fmt: skip


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(ValueError, match="has shape"):
        vectors(Body).layout.state_for(Body(), torch.zeros(3))
