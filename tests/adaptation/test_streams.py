"""Unlabelled streams: what is in them, and in which order."""

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import toy_suite

from mergelib.adaptation import Stream, unlabelled
from mergelib.adaptation.streams import derived_seed
from mergelib.models.inputs import Pixels


def test_a_stream_has_no_labels_to_give():
    suite = toy_suite()
    for stream in unlabelled(suite).values():
        assert [field.name for field in fields(stream)] == ["task", "inputs", "seed", "collate"]
        assert set(vars(stream)) == {"task", "inputs", "seed", "collate"}
        assert (
            stream.inputs.values.shape == (40, 3, 4, 4)
            and stream.inputs.values.dtype == torch.uint8
        )
        assert isinstance(stream.take(0, 3), Pixels) and len(stream.take(0, 3)) == 3


def numbered(total: int, seed: int = 0, task: str = "ants") -> Stream:
    return Stream(task, torch.arange(total), seed)


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(1, 9),
    start=st.integers(0, 30),
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=4),
)
def test_a_sequence_does_not_depend_on_how_it_is_cut(total, start, counts):
    stream = numbered(total)
    whole = stream.take(start, sum(counts)) if sum(counts) else torch.zeros(0)
    parts, place = [], start
    for count in counts:
        if count:
            parts.append(stream.take(place, count))
        place += count
    assert torch.cat(parts).tolist() == whole.tolist() if parts else len(whole) == 0


def test_every_image_comes_once_a_turn_in_another_order_each_time():
    stream = numbered(50)
    turns = [stream.take(50 * turn, 50).tolist() for turn in range(3)]
    assert all(sorted(turn) == list(range(50)) for turn in turns)
    assert turns[0] != turns[1] != turns[2] and turns[0] != list(range(50))


def test_the_order_depends_on_seed_and_task_alone():
    first = numbered(50).take(0, 50).tolist()
    assert first == numbered(50).take(0, 50).tolist()
    assert first != numbered(50, seed=1).take(0, 50).tolist()
    assert first != numbered(50, task="bees").take(0, 50).tolist()


def test_seeds_of_different_parts_differ():
    parts = [(0,), (1,), (0, 0), ("a",), (97,), ("a", "b"), ("ab",), (1, "a"), ("a", 1), (2, 97)]
    assert len({derived_seed(*p) for p in parts}) == len(parts)
    with pytest.raises(ValueError, match="seed must not be negative, not -1"):
        derived_seed(-1)


def test_streams_are_of_the_split_asked_for_and_no_copies():
    suite = toy_suite()
    for split in ("val", "test", "train"):
        for name, stream in unlabelled(suite, split).items():
            assert (
                stream.inputs.values.data_ptr() == suite[name].split(split).inputs.values.data_ptr()
            )
    assert list(unlabelled(suite, tasks=["cats"])) == ["cats"]
    limited = unlabelled(suite, limit=5)["ants"].take(0, 5).values
    assert len(limited.flatten(1).unique(dim=0)) == 5
    assert all((suite["ants"].val.inputs.values[:5] == x).flatten(1).all(1).any() for x in limited)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unlabelled(toy_suite(), "dev"), "unknown split 'dev'"),
        (lambda: unlabelled(toy_suite(), tasks=["bee"]), "unknown task 'bee' in suite 'toy'"),
        (lambda: unlabelled(toy_suite(), tasks=[]), "no task of suite 'toy' to adapt on"),
        (lambda: Stream("ants", torch.zeros(0, 3)), "the stream of task 'ants' has no inputs"),
    ],
)
def test_streams_that_cannot_be_are_refused(call, message):
    with pytest.raises((KeyError, ValueError), match=message):
        call()
