"""Costs: counted by formula and by torch's own counter, files and frontiers by hand."""

import pandas as pd
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from toys import hugging_face_vit, states, vit, vit_bench

from mergelib import TaskVectors
from mergelib.analysis import comparison, cost
from mergelib.analysis.result import Result
from mergelib.mixtures import Start, prune, upscale
from mergelib.mixtures.twin.making import twin_model
from mergelib.models.inputs import Tokens
from mergelib.suites.suite import Split, Suite, Task

TOKENS, WIDTH, BLOCKS, K = 17, 16, 2, 3


def test_texts_have_the_mean_of_their_real_tokens_and_images_none():
    def task(name, inputs):
        split = Split(inputs, torch.zeros(len(inputs), dtype=torch.int64))
        return Task(name, name, ("a",), ("{}",), "", "", split, split, split)

    def texts(*lengths):
        mask = torch.arange(9) < torch.tensor(lengths)[:, None]
        return Tokens(torch.ones(len(lengths), 9, dtype=torch.int64), mask)

    tasks = {"x": task("x", texts(2, 4, 6)), "y": task("y", texts(9))}
    assert cost.mean_tokens(Suite("s", 9, tasks)) == 6  # (4 + 9) / 2, to the even one
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    assert cost.mean_tokens(Suite("s", 4, {"z": task("z", pixels)})) is None


def tv() -> TaskVectors:
    return TaskVectors.from_states(*states())


def mixture(parts="mlp", **plan):
    vectors = tv()
    return upscale(vit(), vectors, vectors.base, parts, start=Start(0.3), **plan)


def added_in_place(to, one, other, *_, **__) -> int:
    return 2 * one[0] * one[1] * one[2] * other[2]


def counted(model, images: int = 1) -> float:
    """Half of the floating-point operations that torch sees, an image.

    It does not see into attention's one fused operation of models in evaluation, nor know the
    product that is added in place.
    """
    model.requires_grad_(False)
    x, fused = torch.rand(images, 3, 16, 16), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    counter = FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.baddbmm_: added_in_place}
    )
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() / 2 / images


def test_the_encoder_by_hand():
    patches = 3 * 4 * 4 * WIDTH * (TOKENS - 1)
    block = TOKENS * (4 * WIDTH**2 + 2 * WIDTH * 2 * WIDTH) + 2 * TOKENS**2 * WIDTH
    by_hand = patches + BLOCKS * block + WIDTH * WIDTH
    assert cost.multiply_adds(vit()) == {"products": by_hand, "mixing": 0, "routing": 0}


@pytest.mark.parametrize("encoder", [vit, hugging_face_vit])
def test_the_encoder_by_torchs_count(encoder):
    assert sum(cost.multiply_adds(encoder()).values()) == counted(encoder())


def test_a_mixture_by_hand():
    mixed = BLOCKS * (2 * 2 * WIDTH * WIDTH + 2 * WIDTH + WIDTH)
    found = cost.multiply_adds(mixture(depth=1))
    assert found["products"] == cost.multiply_adds(vit())["products"]
    assert found["mixing"] == K * mixed
    assert found["routing"] == BLOCKS * K * WIDTH


@pytest.mark.parametrize(
    "plan",
    [
        {"depth": 0},
        {"depth": 1},
        {"depth": 2, "shared": True},
        {"depth": 2, "average": "inputs"},
        {"depth": 1, "parts": "both"},
        {"depth": 1, "parts": "attention"},
        {"depth": 1, "evaluation": "outputs"},
    ],
    ids=str,
)
@pytest.mark.parametrize("images", [1, 3])
def test_mixtures_by_torchs_count(plan, images):
    model = mixture(**plan)
    assert sum(cost.multiply_adds(model).values()) == counted(model, images)


@pytest.mark.parametrize("rank", [0.0, 0.2, 1.0])
def test_twins_by_torchs_count(rank):
    model = twin_model(vit(), tv(), 0.3, rank)
    found = cost.multiply_adds(model)
    assert found["products"] == 2 * cost.multiply_adds(vit())["products"]
    assert found["routing"] == 2 * WIDTH * WIDTH + (2 * WIDTH) ** 2 + 2 * WIDTH * K
    assert sum(found.values()) == counted(model)


def test_what_is_no_vision_transformer_is_refused():
    with pytest.raises(ValueError, match="one table of positions, and the model has 0"):
        cost.multiply_adds(torch.nn.Linear(3, 3))


def test_costs_of_one_and_of_several_and_of_sparse_ones():
    vectors = tv()
    pruned = prune(vectors, 0.1)
    sparse = upscale(vit(), pruned, vectors.base, shared=True, sparse=True, depth=1)
    models = {"one": vit(), "all": vit(), "dense": mixture(depth=1), "sparse": sparse}
    table = cost.costs(models, copies={"all": K})
    size = sum(p.numel() for p in vit().parameters())
    assert table.loc["one", ["stored", "resident", "trainable"]].tolist() == [size, size, 0]
    assert table.loc["all", "stored"] == K * size
    assert table.loc["all", "file"] == K * table.loc["one", "file"]
    assert table.loc["all", "multiply-adds"] == table.loc["one", "multiply-adds"]
    # A header, and four bytes a number.
    assert 4 * size < table.loc["one", "file"] < 4 * size + 5000
    mlp = BLOCKS * (4 * WIDTH * WIDTH + 3 * WIDTH)
    assert table.loc["dense", "stored"] == size + K * mlp + BLOCKS * K * (WIDTH + 1)
    kept = round(0.1 * 2 * WIDTH * WIDTH) * 2 * BLOCKS * K
    biases = 3 * WIDTH * BLOCKS * K
    assert table.loc["sparse", "trainable"] == K * (WIDTH + 1)
    assert table.loc["sparse", "stored"] == size + kept + biases + K * (WIDTH + 1)
    assert table.loc["sparse", "resident"] == table.loc["sparse", "stored"] + kept
    assert table.loc["sparse", "file"] < table.loc["dense", "file"]


def test_latencies_are_positive_times_a_batch():
    models = {"one": vit(), "all": vit()}
    found = cost.latencies(vit_bench(), models, batches=(1, 6), repeats=2, copies={"all": K})
    assert found.columns.tolist() == ["batch 1", "batch 6"]
    assert list(found.index) == list(models) and (found > 0).all(axis=None)


def test_copies_share_a_batch():
    class Seen(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.sizes = torch.nn.Parameter(torch.zeros(1)), set()

        def forward(self, x):
            self.sizes.add(len(x))
            return x.mean((1, 2))

    one, several = Seen(), Seen()
    models = {"one": one, "several": several}
    cost.latencies(vit_bench(), models, batches=(8,), repeats=1, copies={"several": 4})
    assert one.sizes == {8} and several.sizes == {2}


def test_the_frontier_has_what_nothing_beats():
    table = pd.DataFrame(
        {"cost": [1, 1, 2, 3, 3, 4], "accuracy": [0.5, 0.4, 0.5, 0.7, 0.8, 0.75]}, list("abcdef")
    )
    assert cost.frontier(table, "cost").index.tolist() == ["a", "e"]


def test_answers_of_a_mixture_at_its_start_are_those_of_its_weights():
    bench = vit_bench()
    merged = bench.tv.base + 0.3 * bench.tv.sum()
    model = upscale(bench.encoder, bench.tv, merged, depth=1, start=Start(0.3))
    one, other = (comparison.measured(bench, m, limit=10) for m in (merged, model))
    assert all(len(r) == 10 for r in one.right.values())
    assert all((one.right[k] == other.right[k]).all() for k in one.right)
    assert comparison.difference(one, other) == (0, 0)


def accuracies(*shares, n=100):
    return Result({str(i): torch.arange(n) < round(share * n) for i, share in enumerate(shares)})


def test_accuracies_stand_beside_the_costs_they_were_said_to_have():
    spent = pd.DataFrame({"stored": [7, 9]}, ["one", "two"])
    results = {"two": accuracies(0.4, 0.6), "other": accuracies(0.5, 0.5)}
    found = cost.by_cost(results, spent, {"other": "one"})
    assert found.index.tolist() == ["two", "other"] and found["stored"].tolist() == [9, 7]
    assert found["accuracy"].tolist() == [0.5, 0.5]
    half = 1.96 * (0.5**2 / 200) ** 0.5
    assert found.loc["other", "high"] == pytest.approx(0.5 + half, abs=1e-4)
    with pytest.raises(KeyError):
        cost.by_cost(results, spent, {})


def test_means_keep_their_keys_in_order():
    found = comparison.means({0.3: accuracies(0.4, 0.6), 0.1: accuracies(0.2, 0.2)}, "kept")
    assert found.columns.tolist() == ["kept", "accuracy", "low", "high"]
    assert found["kept"].tolist() == [0.3, 0.1]
    assert found["accuracy"].tolist() == pytest.approx([0.5, 0.2])
