"""Task vectors that leave tensors out: by which names, in which files, and what is saved then."""

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from toys import random_state

from mergelib import CheckpointError, Layout, TaskVectors, merging
from mergelib.vectors.checkpoint import open_checkpoint
from mergelib.vectors.selection import Selection

HEAD = {"head.weight": torch.ones(3, 4), "head.bias": torch.zeros(3), "head.ids": torch.arange(3)}


def model(seed, classes=3, **others):
    """A body of two tensors and a buffer, and a head of its own."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "body.0.weight": torch.randn(4, 4, generator=generator),
        "body.1.weight": torch.randn(4, generator=generator),
        "body.ids": torch.arange(2),
        "head.weight": torch.randn(classes, 4, generator=generator),
        "head.ids": torch.arange(classes),
    } | others


def without_head(state):
    return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}


@pytest.fixture
def files(tmp_path):
    """Paths of a base and two experts with heads of other sizes."""
    states = {"base": model(0), "a": model(1, 5), "b": model(2, 7)}
    paths = {name: tmp_path / f"{name}.safetensors" for name in states}
    for name, state in states.items():
        save_file(state, paths[name])
    return paths


@pytest.mark.parametrize(
    ("only", "ignore", "kept"),
    [
        ((), (), "a.w a.b B.w"),
        (("a.*",), (), "a.w a.b"),
        ((), ("*.w",), "a.b"),
        (("a.*", "B.*"), ("a.b",), "a.w B.w"),
        ("a.?", "*b", "a.w"),
        ((), ("b.*",), "a.w a.b B.w"),  # B is not b
        ((), ("a",), "a.w a.b B.w"),  # the whole name is matched
    ],
)
def test_only_comes_first_then_ignore(only, ignore, kept):
    selection = Selection.of(only, ignore)
    assert [n for n in ("a.w", "a.b", "B.w") if selection.keeps(n)] == kept.split()
    assert bool(selection) == bool(only or ignore)


@pytest.mark.parametrize("patterns", [{"ignore": ["head.*"]}, {"only": "body.*"}])
def test_what_is_left_out_is_looked_at_in_no_file(files, patterns):
    base, experts = model(0), {"a": model(1, 5), "b": without_head(model(2))}
    base["head.weight"][0] = float("nan")
    experts["a"]["head.weight"] = torch.zeros(2).to(torch.float8_e4m3fn)
    experts["a"]["head.extra"] = torch.zeros(2).to(torch.complex64)
    for name, state in ({"base": base} | experts).items():
        save_file(state, files[name])
    found = TaskVectors.from_states(base, experts, **patterns)
    read = TaskVectors.from_files(files["base"], {n: files[n] for n in "ab"}, **patterns)
    plain = TaskVectors.from_states(
        without_head(base), {n: without_head(s) for n, s in experts.items()}
    )
    for tv in (found, read):
        assert torch.equal(tv.base, plain.base) and torch.equal(tv.deltas, plain.deltas)
        assert tv.layout.names == plain.layout.names == ("body.0.weight", "body.1.weight")
        assert set(tv.layout.left_out) == {"head.weight", "head.ids"}
        assert set(tv.layout.unflatten(tv.base)) == set(without_head(base))
        assert set(tv.layout.kept) == {"body.ids"} and "2 left out" in repr(tv.layout)
        assert torch.equal(tv.layout.flatten(experts["a"]), tv.layout.flatten(experts["a"] | HEAD))
    assert plain.layout.left_out == ()


def test_entries_that_are_no_tensors_can_be_left_out():
    base = model(0, epoch=3)
    layout = Layout.from_state(base, ignore=["epoch", "head.*"])
    assert set(layout.left_out) == {"epoch", "head.weight", "head.ids"}
    with pytest.raises(CheckpointError, match="entry 'epoch' of base is a int"):
        Layout.from_state(base, ignore=["head.*"])


def test_every_way_to_a_layout_takes_patterns(files):
    layouts = [
        Layout.from_state(model(0), ignore=["head.*"]),
        Layout.from_file(files["base"], ignore=["head.*"]),
    ]
    with open_checkpoint(files["base"]) as checkpoint:
        layouts.append(Layout.from_checkpoint(checkpoint, ignore=["head.*"]))
    for layout in layouts:
        assert layout.selection == Selection(ignore=("head.*",)) and layout.matches(layouts[0])
        assert set(layout.left_out) == {"head.weight", "head.ids"}
        with open_checkpoint(files["a"]) as checkpoint:  # opened without knowing of the patterns
            assert torch.equal(layout.read(checkpoint), layout.flatten(model(1)))
        again = pickle.loads(pickle.dumps(layout))
        assert again.selection == layout.selection and again.left_out == layout.left_out


def test_what_is_not_left_out_is_checked_as_ever():
    wrong = model(1, 5) | {"body.1.weight": torch.zeros(5)}
    with pytest.raises(CheckpointError, match="'body.1.weight' has shape"):
        TaskVectors.from_states(model(0), {"a": wrong}, ignore=["head.*"])
    with pytest.raises(CheckpointError, match="'adapter' of expert 'a' is missing from base"):
        TaskVectors.from_states(
            model(0), {"a": model(1, 5, adapter=torch.zeros(1))}, ignore=["head.*"]
        )
    with pytest.raises(CheckpointError, match="'head.weight' has shape"):
        TaskVectors.from_states(model(0), {"a": model(1, 5)})


@pytest.mark.parametrize(
    ("patterns", "says"),
    [
        ({"ignore": ["haed.*"]}, "'haed.*' of ignore matches no tensor of base or of any expert; "
                                 "did you mean 'head.*'?"),
        ({"ignore": ["head"]}, "'head' of ignore matches no tensor of base or of any expert; "
                               "did you mean 'head.*'?"),
        ({"ignore": ["head.*", "body.0.wieght"]}, "'body.0.wieght' of ignore matches no tensor of "
                                      "base or of any expert; did you mean 'body.0.weight'?"),
        ({"only": ["body.*", "tail.*"], "ignore": ["head.*"]},
         "'tail.*' of only matches no tensor of base"),
        ({"only": ["adapter.*"]}, "'adapter.*' of only matches no tensor of base"),
        ({"only": "body.ids"}, "base has no floating-point weights to merge that only and ignore "
                               "do not leave out"),
        ({"ignore": "*"}, "base has no floating-point weights to merge that only and ignore do "
                          "not leave out"),
    ],
)  # fmt: skip
def test_patterns_that_select_nothing_are_refused(patterns, says):
    expert = {"a": model(1, **{"adapter.weight": torch.zeros(1)})}
    with pytest.raises(CheckpointError) as error:
        TaskVectors.from_states(model(0), expert, **patterns)
    assert str(error.value) == says


def test_a_pattern_of_ignore_may_match_experts_only(files):
    """A base before any head was put on it."""
    save_file(without_head(model(0)), files["base"])
    experts = {name: files[name] for name in "ab"}
    tv = TaskVectors.from_files(files["base"], experts, ignore=["head.*"])
    assert tv.layout.left_out == () and tv.layout.selection.ignore == ("head.*",)
    assert torch.equal(tv.layout.flatten(model(1, 9)) - tv.base, tv.deltas[0])
    with pytest.raises(CheckpointError, match="'head.\\*' of ignore matches no tensor of .*base"):
        Layout.from_file(files["base"], ignore=["head.*"])


def test_layouts_of_other_patterns_and_equal_tensors_match():
    base, expert = model(0), {"a": model(1)}
    one = TaskVectors.from_states(base, expert, ignore=["head.*"])
    two = TaskVectors.from_states(base, {"b": model(2)}, only=["body.*"])
    three = TaskVectors.from_states(without_head(base), {"a": without_head(model(1))})
    assert (one + two).tasks == ("a", "b") and (one + two).layout.left_out
    assert torch.equal((one + three).deltas, 2 * one.deltas)
    with pytest.raises(ValueError, match="differ in their tensors"):
        one + TaskVectors.from_states(base, expert)


def test_saving_takes_what_was_left_out_from_where_one_says(files, tmp_path):
    experts, out = {name: files[name] for name in "ab"}, tmp_path / "merged.safetensors"
    tv = TaskVectors.from_files(files["base"], experts, ignore=["head.*"])
    merged = merging.task_arithmetic(tv, 0.3)
    body = {n: t for n, t in tv.layout.unflatten(merged).items()}
    heads = {"head.weight", "head.ids"}
    for rest in (files["base"], str(files["a"]), load_file(files["b"]) | {"epoch": 3}):
        tv.layout.save(merged, out, rest)
        found, theirs = load_file(out), rest if isinstance(rest, dict) else load_file(rest)
        assert found.keys() == body.keys() | heads
        assert all(torch.equal(found[n], (theirs if n in heads else body)[n]) for n in found)
    tv.layout.save(tv.base, out, files["base"])
    assert all(torch.equal(t, load_file(out)[n]) for n, t in model(0).items())
    tv.layout.save(merged, out, rest={})
    assert load_file(out).keys() == body.keys()

    out.unlink()
    says = r"tensor 'head.\w+' \(and 1 more\) of .*base.safetensors was left out: pass rest=, a "
    with pytest.raises(CheckpointError, match=says):
        tv.layout.save(merged, out)
    with pytest.raises(CheckpointError, match="was left out, and rest has no such tensor"):
        tv.layout.save(merged, out, {"body.ids": torch.arange(2)})
    assert not out.exists()


def test_rest_may_be_odd_in_type_and_memory(tmp_path):
    """Float8, tensors that are one in memory, and a transposed one are written as they are."""
    layout, shared = Layout.from_state(model(0), ignore=["head.*"]), torch.ones(2, 3).T
    rest = {
        "head.weight": shared,
        "head.twin": shared,
        "head.small": torch.ones(2).to(torch.float8_e4m3fn),
    }
    layout.save(torch.zeros(layout.size), tmp_path / "m.safetensors", rest)
    found = load_file(tmp_path / "m.safetensors")
    assert all(found[n].dtype == t.dtype for n, t in rest.items())
    assert torch.equal(found["head.twin"], shared)


def test_without_patterns_rest_changes_nothing(tmp_path):
    state = random_state(0)
    layout = Layout.from_state(state)
    layout.save(layout.flatten(state), tmp_path / "m.safetensors", rest=state | HEAD)
    assert load_file(tmp_path / "m.safetensors").keys() == state.keys()
