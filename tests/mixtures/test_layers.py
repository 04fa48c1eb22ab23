"""The weight-ensembling layer against one sample after the other, in float64."""

from contextlib import contextmanager

import pytest
import torch
from torch.nn.functional import gelu, linear

import mergelib as ml
from mergelib.mixtures.dictionaries import DenseDictionary, SparseDictionary, tile_height

SHAPES = [  # B, T, K, inputs, outputs
    (1, 1, 1, 1, 1),
    (1, 5, 3, 4, 7),
    (4, 1, 2, 5, 3),
    (3, 7, 1, 6, 5),
    (5, 3, 8, 17, 33),
    (2, 9, 4, 31, 65),
    (6, 2, 3, 8, 48),
]


def parts(batch, tokens, tasks, inputs, outputs, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, mix = normal(batch, tokens, inputs), normal(batch, tasks)
    tensors = (
        normal(outputs, inputs),
        normal(outputs),
        normal(tasks, outputs, inputs),
        normal(tasks, outputs),
    )
    return x.requires_grad_(), mix.requires_grad_(), tensors


def slowly(x, mix, tensors):
    """One merged layer a sample, as the authors' code has it."""
    weight, bias, deltas, biases = tensors
    rows = []
    for sample, c in zip(x, mix, strict=True):
        w, b = weight, bias
        for k, share in enumerate(c):
            w, b = w + share * deltas[k], b + share * biases[k]
        rows.append(linear(sample, w, b))
    return torch.stack(rows)


def gradients(y, x, mix):
    pull = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return torch.autograd.grad((y * pull).sum() + y.square().sum(), (x, mix))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("budget", [None, 1, 3000])
@pytest.mark.parametrize("evaluation", ["auto", "weights", "outputs"])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_and_gradients_are_those_of_the_loop(shape, evaluation, budget, sparse):
    x, mix, (weight, bias, deltas, biases) = parts(*shape)
    if sparse:
        deltas = deltas * (deltas > 0.5)
    expected = slowly(x, mix, (weight, bias, deltas, biases))
    dictionary = (SparseDictionary if sparse else DenseDictionary)(deltas, budget)
    layer = ml.mixtures.WeightEnsemblingLinear(weight, bias, dictionary, biases, evaluation, budget)
    found = layer(x, mix)
    close(found, expected)
    for ours, theirs in zip(gradients(found, x, mix), gradients(expected, x, mix), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_a_batch_without_images_has_no_outputs_and_no_gradient(evaluation):
    x, mix, tensors = parts(0, 4, 2, 5, 18)
    found = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation)(x, mix)
    assert found.shape == (0, 4, 18)
    assert [g.shape for g in gradients(found, x, mix)] == [(0, 4, 5), (0, 2)]


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_gradients_equal_finite_differences(evaluation):
    x, mix, tensors = parts(3, 4, 2, 5, 18)
    layer = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation, budget=1)
    assert torch.autograd.gradcheck(layer, (x, mix))


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_only_the_gradient_that_is_wanted_is_made(evaluation):
    x, mix, tensors = parts(3, 4, 2, 5, 18)
    layer = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation)
    both = gradients(layer(x, mix), x, mix)
    alone = layer(x.detach(), mix)
    pull = torch.linspace(-1, 1, alone.numel(), dtype=alone.dtype).view_as(alone)
    (to_mix,) = torch.autograd.grad((alone * pull).sum() + alone.square().sum(), (mix,))
    close(to_mix, both[1])


def test_without_a_bias_and_from_a_strided_view():
    """Deltas as task vectors hold them: columns of a wider matrix, not copied."""
    x, mix, (weight, _, deltas, _) = parts(3, 4, 2, 5, 6)
    wide = torch.randn(2, 100, dtype=torch.float64)
    wide[:, 40:70] = deltas.view(2, -1)
    view = wide[:, 40:70].view(2, 6, 5)
    layer = ml.mixtures.WeightEnsemblingLinear(weight, None, view, None)
    assert layer.dictionary.deltas.data_ptr() == view.data_ptr()
    zeros = torch.zeros(6, dtype=torch.float64), torch.zeros(2, 6, dtype=torch.float64)
    close(layer(x, mix), slowly(x, mix, (weight, zeros[0], deltas, zeros[1])))


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_one_row_of_coefficients_serves_the_whole_batch(evaluation):
    x, mix, tensors = parts(4, 3, 2, 5, 6)
    layer = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation)
    shared = mix[:1]
    close(layer(x, shared), slowly(x, shared.expand(4, -1), tensors))
    found = gradients(layer(x, shared), x, mix)
    expected = gradients(slowly(x, shared.expand(4, -1), tensors), x, mix)
    close(found[0], expected[0])
    close(found[1], expected[1])


def test_the_cheaper_evaluation_is_chosen():
    """T K ≤ K + 12: few tokens or few tasks."""
    for tokens, tasks, expected in ((1, 8, "outputs"), (2, 8, "outputs"), (3, 8, "weights")):
        layer = ml.mixtures.WeightEnsemblingLinear(*parts(1, 1, tasks, 2, 2)[2])
        assert layer.chosen(tokens) == expected
    one = parts(1, 1, 1, 2, 2)[2]
    assert ml.mixtures.WeightEnsemblingLinear(*one).chosen(13) == "outputs"
    assert ml.mixtures.WeightEnsemblingLinear(*one).chosen(14) == "weights"
    assert ml.mixtures.WeightEnsemblingLinear(*one, "weights").chosen(1) == "weights"


def test_an_mlp_is_two_layers_with_the_same_coefficients():
    x, mix, first = parts(3, 4, 2, 5, 7)
    second = parts(3, 4, 2, 7, 5, seed=1)[2]
    mlp = ml.mixtures.WeightEnsemblingMLP(
        ml.mixtures.WeightEnsemblingLinear(*first),
        torch.nn.GELU(),
        ml.mixtures.WeightEnsemblingLinear(*second),
    )
    expected = slowly(gelu(slowly(x, mix, first)), mix, second)
    close(mlp(x, mix), expected)
    for ours, theirs in zip(
        gradients(mlp(x, mix), x, mix), gradients(expected, x, mix), strict=True
    ):
        close(ours, theirs)


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_products_are_rounded_and_nothing_else(evaluation, dtype):
    x, mix, tensors = parts(3, 6, 4, 24, 40)
    tensors = tuple(0.2 * t.float() for t in tensors)
    layer = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation, budget=1)
    x, mix = x.detach().float().requires_grad_(), mix.detach().float().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        found = layer(x, mix)
    assert found.dtype == dtype
    expected = slowly(x, mix, tensors)
    limit = 4 * torch.finfo(dtype).eps * expected.abs().max()
    assert (found.float() - expected).abs().max() < limit
    (rounded, exact) = (gradients(y.float(), x, mix) for y in (found, expected))
    for ours, theirs in zip(rounded, exact, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 8 * torch.finfo(dtype).eps * theirs.abs().max()


def largest_tensor(function):
    """Elements of the largest tensor that an operation makes while the function runs."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
            out = operation(*arguments, **(keywords or {}))
            if isinstance(out, torch.Tensor) and out._base is None:
                self.largest = max(self.largest, out.numel())
            return out

    with Watch() as watch:
        function()
    return watch.largest


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_no_tensor_is_as_large_as_the_merged_weights_of_a_batch(evaluation):
    batch, tokens, tasks, width = 12, 2, 3, 64
    x, mix, tensors = parts(batch, tokens, tasks, width, 96)
    layer = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation, budget=8 * 16 * width * tasks)

    def both_ways():
        gradients(layer(x, mix), x, mix)

    assert largest_tensor(both_ways) <= 2 * 16 * width * tasks
    assert largest_tensor(lambda: slowly(x, mix, tensors)) >= width * 96


@contextmanager
def number_of_threads(count):
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("evaluation", ["weights", "outputs"])
def test_the_number_of_threads_does_not_matter(evaluation):
    """In tiles of the least height, the last one short."""
    x, mix, tensors = parts(19, 3, 2, 8, 90)
    layer = ml.mixtures.WeightEnsemblingLinear(*tensors, evaluation, budget=1)
    found = []
    for threads in (1, 2, 3):
        with number_of_threads(threads):
            y = layer(x, mix)
            found.append((y, *gradients(y, x, mix)))
    y = slowly(x, mix, tensors)
    expected = (y, *gradients(y, x, mix))
    for ours in found:
        assert torch.equal(ours[0], found[0][0])
        for one, other in zip(ours, expected, strict=True):
            close(one, other)
    with number_of_threads(2), torch.inference_mode():
        assert torch.equal(layer(x, mix), found[0][0])


def test_a_sparse_dictionary_holds_what_is_not_zero():
    generator = torch.Generator().manual_seed(0)
    deltas = torch.randn(3, 50, 20, generator=generator)
    deltas *= torch.rand(deltas.shape, generator=generator) < 0.1
    sparse = SparseDictionary(deltas, budget=1)
    assert torch.equal(sparse.dense(), deltas)
    assert sparse.stored == int((deltas != 0).sum()) == len(sparse.places)
    assert SparseDictionary(torch.zeros(2, 3, 4)).dense().abs().sum() == 0


def test_tiles_are_of_the_size_asked_for():
    like = torch.zeros(1)
    assert tile_height((8, 3072, 768), like, 8 * 100 * 768 * 4) == 96
    assert tile_height((8, 3072, 768), like, 1) == 16
    assert tile_height((8, 3072, 768), like, None) == 128  # 3 MiB
    assert tile_height((8, 768, 3072), like, None) == 64  # 6 MiB: fewer rows would be slow
    with pytest.raises(ValueError, match="at least a byte, not 0"):
        tile_height((8, 3072, 768), like, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deltas": (2, 6, 4)}, r"weight of shape \(6, 5\) needs deltas of shape \(K, 6, 5\)"),
        ({"bias": None}, "both or neither"),
        ({"biases": (3, 6)}, r"2 tasks and 6 outputs need a bias"),
        ({"evaluation": "fast"}, "one of auto, weights, outputs, not 'fast'"),
        ({"x": (3, 5)}, r"inputs must be \(B, T, 5\), not \(3, 5\)"),
        ({"mix": (2, 2)}, r"3 inputs need coefficients \(3, 2\) or \(1, 2\), not \(2, 2\)"),
        ({"mix": (3, 1)}, "2 tasks need as many coefficients a sample, not 1"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    have = {
        "weight": torch.zeros(6, 5),
        "bias": torch.zeros(6),
        "deltas": torch.zeros(2, 6, 5),
        "biases": torch.zeros(2, 6),
        "evaluation": "auto",
        "x": torch.zeros(3, 4, 5),
        "mix": torch.zeros(3, 2),
    }
    have |= {k: torch.zeros(v) if isinstance(v, tuple) else v for k, v in change.items()}
    with pytest.raises(ValueError, match=message):
        layer = ml.mixtures.WeightEnsemblingLinear(
            have["weight"], have["bias"], have["deltas"], have["biases"], have["evaluation"]
        )
        layer(have["x"], have["mix"])
