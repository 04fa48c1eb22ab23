"""Layout: flat vectors, kept buffers, granularities, saving to the bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from toys import SHAPES, random_state

from mergelib import Layout

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def same_bits(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype and one[name].shape == other[name].shape, name
        assert torch.equal(bits(one[name]), bits(other[name])), name


@settings(max_examples=50, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
)
def test_flatten_and_unflatten_are_inverse_and_ignore_the_order_of_entries(shapes, order):
    state = {f"t{i}": torch.randn(shape) for i, shape in enumerate(shapes)}
    state["one"] = torch.randn(1)
    layout = Layout.from_state(state)
    vector = layout.flatten(state)
    assert vector.dtype == torch.float32 and vector.shape == (layout.size,)
    same_bits(layout.unflatten(vector), state)
    again = torch.randn(layout.size)
    assert torch.equal(layout.flatten(layout.unflatten(again)), again)

    names = list(state)
    order.shuffle(names)
    shuffled = {name: state[name] for name in names}
    assert Layout.from_state(shuffled).names == layout.names
    assert torch.equal(layout.flatten(shuffled), vector)


def test_order_is_sorted_by_name_and_row_major():
    layout = Layout.from_state({"b": torch.zeros(2, 2), "a": torch.zeros(1)})
    state = {"b": torch.tensor([[1.0, 2], [3, 4]]).T, "a": torch.tensor([9.0])}
    assert layout.names == ("a", "b") and layout.offsets == (0, 1, 5)
    assert layout.flatten(state).tolist() == [9, 1, 3, 2, 4]


def test_unflatten_gives_views_in_shape_that_carry_gradients_and_copies_of_buffers():
    state = random_state(0)
    layout = Layout.from_state(state)
    vector = layout.flatten(state).requires_grad_()
    views = layout.unflatten(vector)
    assert {n: tuple(v.shape) for n, v in views.items() if n in SHAPES} == SHAPES
    assert views["visual.proj"].data_ptr() >= vector.data_ptr()
    views["visual.proj"].sum().backward()
    assert vector.grad.sum() == state["visual.proj"].numel()
    views["position_ids"].zero_()
    assert layout.unflatten(vector)["position_ids"].sum() == 21


def test_unflatten_does_not_copy_weights():
    layout = Layout.from_state(random_state(0))
    vector = torch.zeros(layout.size)
    layout.unflatten(vector)["visual.conv1.weight"].fill_(1)
    assert vector.sum() == 48


@pytest.mark.parametrize("dtype", FLOATS)
def test_saving_the_base_gives_the_base_to_the_bit(tmp_path, dtype):
    state = random_state(1, dtype)
    state["visual.ln_post.weight"] = torch.tensor([-0.0, 0.0, 1e-7, 1 / 3], dtype=dtype)
    layout = Layout.from_state(state)
    layout.save(layout.flatten(state), tmp_path / "out.safetensors")
    same_bits(load_file(tmp_path / "out.safetensors"), state)
    assert [path.name for path in tmp_path.iterdir()] == ["out.safetensors"]


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_saved_model_loads_into_the_module(tmp_path, dtype):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(dtype)
    module[1].num_batches_tracked += 5
    layout = Layout.from_state(module.state_dict())
    layout.save(layout.flatten(module.state_dict()), tmp_path / "m.safetensors")
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).to(dtype)
    other.load_state_dict(load_file(tmp_path / "m.safetensors"))
    same_bits(other.state_dict(), module.state_dict())


def test_from_file_equals_from_state(tmp_path):
    state = random_state(2, torch.float64)
    save_file(state, tmp_path / "base.safetensors")
    from_file = Layout.from_file(tmp_path / "base.safetensors")
    from_state = Layout.from_state(state)
    assert from_file.matches(from_state) and from_file.dtypes == from_state.dtypes
    same_bits(dict(from_file.kept), dict(from_state.kept))
    same_bits(dict(from_file.exact), dict(from_state.exact))


def test_a_float64_base_keeps_what_float32_cannot_hold(tmp_path):
    state = {"w": torch.tensor([1 / 3, 1e-300, 1 + 2**-52], dtype=torch.float64)}
    layout = Layout.from_state(state)
    layout.save(layout.flatten(state), tmp_path / "w.safetensors")
    assert torch.equal(load_file(tmp_path / "w.safetensors")["w"], state["w"])


def test_saving_refuses_what_the_type_cannot_hold(tmp_path):
    layout = Layout.from_state({"big": torch.zeros(3, dtype=torch.float16), "a": torch.zeros(1)})
    with pytest.raises(ValueError, match="'big' of the model to be saved as .*1 of 3"):
        layout.save(torch.tensor([0, 0, 1e6, 0]), tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="'a' of the model"):
        layout.save(torch.tensor([float("nan"), 0, 0, 0]), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(3,), (4, 1), (2, 4)])
def test_vectors_of_another_shape_are_refused(shape):
    layout = Layout.from_state({"w": torch.zeros(4)}, source="tiny.safetensors")
    with pytest.raises(ValueError, match=r"layout of tiny\.safetensors has shape \(4,\)"):
        layout.unflatten(torch.zeros(shape))


@pytest.mark.parametrize("by", ["model", "block", "tensor"])
def test_segments_cover_every_coordinate_once(by):
    layout = Layout.from_state(random_state(0))
    covered = torch.zeros(layout.size)
    for _, slices in layout.segments(by):
        for place in slices:
            covered[place] += 1
    assert torch.equal(covered, torch.ones(layout.size))


def test_blocks_are_found_and_sorted_by_number():
    layout = Layout.from_state(random_state(0))
    blocks = {segment.name: segment.slices for segment in layout.segments("block")}
    stem = "visual.transformer.resblocks."
    assert list(blocks) == ["embeddings", stem + "0", stem + "2", stem + "10", "head"]
    assert all(len(blocks[stem + number]) == 1 for number in ("0", "2", "10"))
    sizes = {name: sum(s.stop - s.start for s in slices) for name, slices in blocks.items()}
    assert sizes == {"embeddings": 52, stem + "0": 52, stem + "2": 32, stem + "10": 32, "head": 25}


@pytest.mark.parametrize(
    "name, block",
    [
        ("vision_model.encoder.layers.3.mlp.fc1.weight", "vision_model.encoder.layers.3"),
        ("bert.encoder.layer.11.output.bias", "bert.encoder.layer.11"),
        ("blocks.0.norm1.weight", "blocks.0"),
        ("transformer.h.7.attn.weight", "transformer.h.7"),
        ("layer1.0.conv1.weight", "layer1.0"),
        ("vision_model.pre_layrnorm.weight", "embeddings"),
        ("vision_model.embeddings.patch_embedding.weight", "embeddings"),
        ("trunk.cls_token", "embeddings"),
        ("vision_model.post_layernorm.bias", "head"),
        ("visual_projection.weight", "head"),
        ("fc.0.weight", "head"),
    ],
)
def test_names_of_common_libraries_fall_into_their_blocks(name, block):
    assert Layout.from_state({name: torch.zeros(1)}).segments("block")[0].name == block


def test_an_unknown_granularity_is_refused():
    with pytest.raises(ValueError, match="one of model, block, tensor, not 'layers'"):
        Layout.from_state({"w": torch.zeros(1)}).segments("layers")


def test_vectors_are_split_along_their_last_dimension():
    layout = Layout.from_state({"b": torch.zeros(2, 3), "a": torch.zeros(4)})
    rows = torch.arange(20.0).view(2, 10)
    parts = layout.split(rows)
    assert layout.sizes == [4, 6] and list(parts) == ["a", "b"]
    assert torch.equal(parts["a"], rows[:, :4])
    assert torch.equal(parts["b"], rows[:, 4:].reshape(2, 2, 3))
    assert parts["b"].data_ptr() == rows[:, 4:].data_ptr()
