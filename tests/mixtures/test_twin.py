"""Twin-Merging against experts, weights merged for each image, and its own file."""

import pytest
import torch
from torch.func import functional_call
from toys import LAYOUTS, images, prepared, setting, vit, vit_bench

import mergelib as ml
from mergelib.evaluation import evaluate
from mergelib.mixtures import load_twin, recompressed, save_twin, twin_merging
from mergelib.mixtures.twin.exclusive import factors
from mergelib.mixtures.twin.making import twin_model
from mergelib.mixtures.twin.method import task_tokens
from mergelib.vectors.checkpoint import CheckpointError


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    monkeypatch.setattr("mergelib.models.compute.bfloat16_is_fast", lambda device: False)


@pytest.fixture(scope="module")
def bench():
    return vit_bench()


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_at_full_rank_an_image_can_have_any_expert(layout):
    """All of it: every tensor of the encoder is among what the router doses."""
    encoder, tv = setting(layout)
    model, x = twin_model(encoder, tv, rank=1.0), images(3)
    found = model.mixed(x, torch.eye(3))
    for number, task in enumerate(tv.tasks):
        state = tv.layout.unflatten(tv.base + tv[task].deltas[0])
        expected = functional_call(encoder, state, (x[number : number + 1],))
        torch.testing.assert_close(found[number : number + 1], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("rank", [0.0, 0.2, 1.0])
@torch.no_grad()
def test_each_image_gets_its_own_weights(layout, rank):
    """The plain encoder, an image at a time, with θ* + Σ c v and v cut by a plain SVD."""
    encoder, tv = setting(layout)
    model, x = twin_model(encoder, tv, 0.29, rank), images(4)
    shared = tv.base + 0.29 * tv.sum()
    mix = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    cut = []
    for task in tv.tasks:
        state = tv.layout.unflatten(tv.base + tv[task].deltas[0] - shared)
        for name, tensor in state.items():
            if tensor.dim() > 1:
                u, s, v = torch.linalg.svd(tensor.flatten(1), full_matrices=False)
                kept = int(rank * len(s) + 1e-9)
                state[name] = (u[:, :kept] * s[:kept] @ v[:kept]).view_as(tensor)
        cut.append(state)
    found = model.mixed(x, mix)
    for number in range(4):
        state = tv.layout.unflatten(shared.clone())
        for name in tv.layout.names:
            state[name] = state[name] + sum(
                c * v[name] for c, v in zip(mix[number], cut, strict=True)
            )
        expected = functional_call(encoder, state, (x[number : number + 1],))
        torch.testing.assert_close(found[number : number + 1], expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_coefficients_are_a_softmax_of_what_the_shared_expert_sees(bench):
    model, pixels = twin_model(bench.encoder, bench.tv), bench.suite["bees"].test.inputs.values[:5]
    x = prepared(pixels)
    shared = vit()
    merged = ml.merging.task_arithmetic(bench.tv, 0.29)
    shared.load_state_dict(bench.tv.layout.unflatten(merged))
    seen = []
    shared.transformer.resblocks[-1].register_forward_hook(lambda m, i, out: seen.append(out))
    shared(x)
    expected = model.router(seen[0].mean(1)).softmax(1)
    found = model.coefficients(pixels)
    assert found.shape == (5, 1, 3)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(x), model.mixed(x, expected), rtol=1e-4, atol=1e-4)
    alone = torch.cat([model(image.unsqueeze(0)) for image in x])
    torch.testing.assert_close(model(x), alone, rtol=1e-4, atol=1e-4)


def test_factors_are_the_best_of_their_rank():
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 12, 20, generator=generator, dtype=torch.float64)
    left, right = factors(matrices, 0.25)
    assert left.shape == (3, 12, 3) and right.shape == (3, 3, 20)
    for k in range(3):
        values = torch.linalg.svdvals(matrices[k])
        error = torch.linalg.matrix_norm(matrices[k] - left[k] @ right[k])
        assert error.item() == pytest.approx(values[3:].square().sum().sqrt().item())
    left, right = factors(matrices, 1.0)
    torch.testing.assert_close(left @ right, matrices)
    with pytest.raises(ValueError, match="share of the singular values, 0 … 1, not 8"):
        factors(matrices, 8)


def test_the_router_learns_the_tasks_and_the_best_epoch_on_val_is_kept(monkeypatch):
    bench = vit_bench(images=40)
    for number, task in enumerate(bench.suite):  # tasks that a look tells apart
        for split in (task.train, task.val, task.test):
            split.inputs.values.div_(4, rounding_mode="floor").add_(60 * number)
    found = twin_merging(bench, bench.tv, epochs=12, batch=30, lr=1e-3)
    history = found.history
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["kept"].sum() == 1
    assert history.loc[history["kept"], "accuracy"].item() == history["accuracy"].max() > 0.9
    assert history["kept"].idxmax() == history["accuracy"].idxmax()
    x, y = task_tokens(found.model, bench, "val")
    share = (found.model.router(x).argmax(1) == y).double().mean().item()
    assert share == history["accuracy"].max()
    again = twin_merging(bench, bench.tv, epochs=12, batch=30, lr=1e-3)
    assert again.history.equals(history)


def test_test_images_and_class_labels_are_not_looked_at(bench):
    found = twin_merging(bench, bench.tv, epochs=2)
    blind = vit_bench()
    for task in blind.suite:
        task.test.inputs.values.zero_()
        for split in (task.train, task.val, task.test):
            split.labels.zero_()
    assert twin_merging(blind, blind.tv, epochs=2).history.equals(found.history)


def test_nothing_given_is_changed_and_the_caller_keeps_its_random_numbers(bench):
    state = {n: t.clone() for n, t in bench.encoder.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    twin_merging(bench, bench.tv, epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(t, state[n]) for n, t in bench.encoder.state_dict().items())


def test_a_saved_model_is_the_same_when_loaded(bench, tmp_path):
    found = twin_merging(bench, bench.tv, epochs=2).model
    path = tmp_path / "twin.safetensors"
    save_twin(found, path)
    loaded = load_twin(path, vit())
    pixels = prepared(bench.suite["bees"].test.inputs.values)
    with torch.no_grad():
        assert torch.equal(loaded(pixels), found(pixels))
    assert loaded.sizes() == found.sizes() and loaded.tasks == found.tasks
    numbers = path.stat().st_size / 4
    assert numbers < 1.2 * found.sizes()["total"] + 3000  # beside them the header
    table = evaluate(loaded, bench.heads, bench.suite)
    assert table["task"].tolist() == list(bench.tv.tasks)
    bench.tv.layout.save(bench.tv.base, tmp_path / "base.safetensors")
    with pytest.raises(CheckpointError, match="base.safetensors holds no Twin model"):
        load_twin(tmp_path / "base.safetensors", vit())


def test_sizes_count_factors(bench):
    sizes = twin_model(bench.encoder, bench.tv, rank=0.25).sizes()
    expected = 0
    for shape in bench.tv.layout.shapes:
        if len(shape) < 2:
            expected += 3 * torch.Size(shape).numel()
        else:
            o, i = shape[0], torch.Size(shape[1:]).numel()
            expected += 3 * int(0.25 * min(o, i)) * (o + i)
    assert sizes["exclusive"] == expected
    assert sizes["total"] == expected + sizes["trainable"] + bench.tv.layout.size


@torch.no_grad()
def test_embeddings_that_no_norm_follows_are_added_before_the_first_block(bench):
    """The norm after the blocks must not be taken for the one before them."""
    encoder = vit()
    encoder.ln_pre = torch.nn.Identity()
    tv = bench.tv
    states = {task: tv.layout.unflatten(tv.base + tv[task].deltas[0]) for task in tv.tasks}
    for state in states.values():
        del state["ln_pre.weight"], state["ln_pre.bias"]
    tv = ml.TaskVectors.from_states(encoder.state_dict(), states)
    model, x = twin_model(encoder, tv, rank=1.0), images(3)
    found = model.mixed(x, torch.eye(3))
    for number, task in enumerate(tv.tasks):
        expected = functional_call(encoder, states[task], (x[number : number + 1],))
        torch.testing.assert_close(found[number : number + 1], expected, rtol=1e-3, atol=1e-3)


def test_numbers_out_of_range_are_named(bench):
    with pytest.raises(ValueError, match="epochs ≥ 0 and batches and limits ≥ 2, not -1, 1024"):
        twin_merging(bench, bench.tv, epochs=-1)
    with pytest.raises(ValueError, match="share of the singular values"):
        twin_merging(bench, bench.tv, rank=2)


def test_another_rank_has_the_same_router_and_shared_expert(bench):
    found = twin_merging(bench, bench.tv, scale=0.3, rank=0.2, epochs=2, batch=16, progress=False)
    other = recompressed(found.model, bench.encoder, bench.tv, 0.3, 1.0)
    images = bench.suite["ants"].test.inputs.values
    assert torch.equal(found.model.coefficients(images), other.coefficients(images))
    for name, tensor in found.model.shared_state().items():
        assert torch.equal(tensor, other.shared_state()[name])
    assert other.sizes()["exclusive"] > found.model.sizes()["exclusive"]
    x, mix = prepared(images[:3]), torch.eye(3)
    whole = twin_model(bench.encoder, bench.tv, 0.3, 1.0)
    with torch.no_grad():
        torch.testing.assert_close(other.mixed(x, mix), whole.mixed(x, mix))
