"""Every kind of broken checkpoint is refused in one sentence that names tensor and files."""

import pytest
import torch
from safetensors.torch import save_file
from toys import random_state

from mergelib import CheckpointError, Layout, TaskVectors

TENSOR = "visual.proj"


def without(state):
    del state[TENSOR]


def extra(state):
    state["adapter.weight"] = torch.zeros(2)


def misshapen(state):
    state[TENSOR] = state[TENSOR].T.contiguous()


def integer(state):
    state[TENSOR] = torch.zeros(4, 5, dtype=torch.int64)


def not_a_number(state):
    state[TENSOR][1, 2] = float("nan")


def infinite(state):
    state[TENSOR][0, 0] = float("-inf")


def float_buffer(state):
    state["position_ids"] = state["position_ids"].float()


def narrow_buffer(state):
    state["position_ids"] = state["position_ids"].int()


def long_buffer(state):
    state["position_ids"] = torch.arange(9).unsqueeze(0)


def extra_buffer(state):
    state["step"] = torch.tensor(3)


BREAKS = [
    (without, TENSOR, "missing from"),
    (extra, "adapter.weight", "missing from"),
    (misshapen, TENSOR, r"shape \(5, 4\)"),
    (integer, TENSOR, "int64"),
    (not_a_number, TENSOR, "1 of 20 numbers that are NaN"),
    (infinite, TENSOR, "1 of 20 numbers"),
    (float_buffer, "position_ids", "float32"),
    (narrow_buffer, "position_ids", "int32"),
    (long_buffer, "position_ids", r"shape \(1, 9\)"),
    (extra_buffer, "step", "missing from"),
]


@pytest.mark.parametrize("spoil, tensor, says", BREAKS, ids=[b[0].__name__ for b in BREAKS])
def test_an_expert_that_does_not_fit_is_refused(tmp_path, spoil, tensor, says):
    base, expert = random_state(0), random_state(1)
    spoil(expert)
    paths = [tmp_path / "base.safetensors", tmp_path / "svhn.safetensors"]
    save_file(base, paths[0])
    save_file(expert, paths[1])
    with pytest.raises(CheckpointError, match=says) as error:
        TaskVectors.from_files(paths[0], {"svhn": paths[1]})
    message = str(error.value)
    assert f"'{tensor}'" in message and all(str(path) in message for path in paths)
    assert "\n" not in message

    with pytest.raises(CheckpointError, match=says) as error:
        TaskVectors.from_states(base, {"svhn": expert})
    assert f"'{tensor}'" in str(error.value) and "expert 'svhn'" in str(error.value)
    with pytest.raises(CheckpointError, match=f"'{tensor}'.*my model"):
        Layout.from_state(base).flatten(expert, source="my model")


def test_several_missing_tensors_are_counted():
    state = {name: torch.zeros(1) for name in "abcd"}
    with pytest.raises(CheckpointError, match=r"tensor 'b' \(and 2 more\) of base"):
        TaskVectors.from_states(state, {"t": {"a": torch.zeros(1)}})


def test_a_broken_base_is_refused(tmp_path):
    state = random_state(0)
    not_a_number(state)
    save_file(state, tmp_path / "base.safetensors")
    save_file(random_state(0), tmp_path / "expert.safetensors")
    with pytest.raises(CheckpointError, match=f"'{TENSOR}' of .*base.safetensors holds"):
        TaskVectors.from_files(
            tmp_path / "base.safetensors", {"t": tmp_path / "expert.safetensors"}
        )


def test_headers_of_all_files_are_checked_before_weights_are_read(tmp_path):
    """The NaN in the first expert would be met first if weights were read first."""
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("base", "first", "second")}
    first, second = random_state(1), random_state(2)
    not_a_number(first)
    misshapen(second)
    for path, state in zip(paths.values(), (random_state(0), first, second), strict=True):
        save_file(state, path)
    with pytest.raises(CheckpointError, match="second.safetensors"):
        TaskVectors.from_files(paths.pop("base"), paths)


@pytest.fixture
def base_file(tmp_path):
    save_file(random_state(0), tmp_path / "base.safetensors")
    return tmp_path / "base.safetensors"


def test_missing_files_and_folders(base_file, tmp_path):
    absent = tmp_path / "absent.safetensors"
    with pytest.raises(FileNotFoundError, match=f"checkpoint {absent} does not exist"):
        TaskVectors.from_files(base_file, {"t": absent})
    with pytest.raises(FileNotFoundError, match=f"checkpoint {absent} does not exist"):
        TaskVectors.from_files(absent, {"t": base_file})
    with pytest.raises(FileNotFoundError, match="is a folder"):
        Layout.from_file(tmp_path)


@pytest.mark.parametrize("length", [0, 5, 40, -1])
def test_truncated_files(base_file, tmp_path, length):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(base_file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=f"{broken} is not a complete safetensors file"):
        TaskVectors.from_files(base_file, {"t": broken})


def test_pickles_are_not_opened(base_file, tmp_path):
    torch.save(random_state(0), tmp_path / "expert.pt")
    with pytest.raises(CheckpointError, match="expert.pt is not a complete safetensors file"):
        TaskVectors.from_files(base_file, {"t": tmp_path / "expert.pt"})


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn])
def test_types_that_cannot_be_merged(tmp_path, dtype):
    state = {"w": torch.zeros(2), "odd": torch.zeros(2).to(dtype)}
    with pytest.raises(CheckpointError, match="'odd' of base is"):
        Layout.from_state(state)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(CheckpointError, match="'odd' of .*odd.safetensors is"):
        Layout.from_file(tmp_path / "odd.safetensors")


def test_entries_that_are_no_tensors():
    with pytest.raises(CheckpointError, match="entry 'epoch' of base is a int, not a tensor"):
        Layout.from_state({"w": torch.zeros(2), "epoch": 3})


def test_nothing_to_merge():
    with pytest.raises(CheckpointError, match="no floating-point weights"):
        Layout.from_state({"ids": torch.arange(3)})
    with pytest.raises(ValueError, match="at least one expert"):
        TaskVectors.from_states({"w": torch.zeros(1)}, {})


def test_numbers_too_large_for_float32():
    with pytest.raises(CheckpointError, match="'w' of base .*too large"):
        TaskVectors.from_states(
            {"w": torch.tensor([1e300], dtype=torch.float64)}, {"t": {"w": torch.zeros(1)}}
        )


def test_large_numbers_whose_sum_overflows_are_fine():
    state = {"w": torch.full((4,), 3e38)}
    assert Layout.from_state(state).flatten(state).max() == 3e38


def test_a_coarser_expert_is_merged_with_a_warning():
    base = {"w": torch.tensor([1.0001])}
    with pytest.warns(UserWarning, match="expert 't' stores 1 tensors .*'w'.*rounding errors"):
        tv = TaskVectors.from_states(base, {"t": {"w": base["w"].half()}})
    assert tv.deltas.item() == pytest.approx(-1e-4, rel=1e-3)


def test_buffers_of_an_expert_may_be_absent_or_differ_in_value():
    base, absent, other = random_state(0), random_state(1), random_state(2)
    del absent["position_ids"]
    other["position_ids"] += 1
    tv = TaskVectors.from_states(base, {"absent": absent, "other": other})
    assert torch.equal(tv.layout.unflatten(tv.base)["position_ids"], base["position_ids"])
