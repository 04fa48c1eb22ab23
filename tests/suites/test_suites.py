"""Suites: splits, validation, the parquet loader, and what is said when something is wrong."""

import numpy as np
import pytest
import torch
from toys import write_parquet

from mergelib import suites
from mergelib.suites import Split, Task, load_suite, vision
from mergelib.suites.parquet import class_names, data_folder, decode, load_rows


def test_rows_come_back_with_their_pixels_labels_and_class_names(tmp_path):
    write_parquet(tmp_path / "test.parquet", [2, 0, 1], ["a", "b", "c"])
    rows = load_rows(tmp_path, "test")
    images, labels = decode(rows, 6)
    assert class_names(rows) == ("a", "b", "c")
    assert labels.tolist() == [2, 0, 1]
    assert images.shape == (3, 3, 6, 6) and images.dtype == torch.uint8
    assert images[0, :, 3, 3].tolist() == [40, 0, 215]


def test_a_missing_file_a_damaged_file_and_a_missing_column_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.parquet is missing"):
        load_rows(tmp_path, "train")
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as parquet"):
        load_rows(tmp_path, "train")
    write_parquet(tmp_path / "val.parquet", [0, 1], column="klass")
    with pytest.raises(ValueError, match=r"no column 'label' \(columns: image, klass\)"):
        load_rows(tmp_path, "val")


def test_the_data_folder_must_be_named_and_exist(monkeypatch, tmp_path):
    monkeypatch.delenv("MERGELIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="MERGELIB_DATA is not set"):
        data_folder()
    monkeypatch.setenv("MERGELIB_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="not a folder"):
        data_folder()


def test_vision_is_read_from_parquet_and_val_is_cut_from_train(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGELIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MERGELIB_CACHE", str(tmp_path / "cache"))
    for source in vision.SOURCES.values():
        folder = tmp_path / "data" / "images" / source.folder
        write_parquet(folder / "train.parquet", [0, 1] * 10, ["left", "right"])
        write_parquet(folder / "test.parquet", [1, 0], ["left", "right"])
    suite = load_suite("vision")
    assert suite.names == tuple(vision.SOURCES)
    for task in suite:
        assert (len(task.train), len(task.val), len(task.test)) == (16, 4, 2)
        assert task.val.labels.bincount().tolist() == [2, 2]
        assert task.classes == ("left", "right")
    key = suites.suite_key("vision")
    write_parquet(tmp_path / "data/images/mnist/test.parquet", [0, 0], ["left", "right"])
    assert suites.suite_key("vision") != key


def test_splitting_by_seed_keeps_every_image_once():
    labels = torch.arange(7).repeat_interleave(torch.tensor([1, 2, 3, 10, 20, 30, 5]))
    images = torch.arange(len(labels)).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).to(torch.uint8)
    train, val = vision.split_by_seed(Split(images, labels), 0.2, 0)
    ids = torch.cat([train.inputs.values, val.inputs.values])[:, 0, 0, 0].tolist()
    assert sorted(ids) == list(range(len(labels)))
    assert set(val.labels.tolist()) == set(range(7))
    again, _ = vision.split_by_seed(Split(images, labels), 0.2, 0)
    assert torch.equal(again.inputs.values, train.inputs.values)


def test_a_cached_suite_is_the_built_one(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGELIB_CACHE", str(tmp_path))
    built, cached = load_suite("pico"), load_suite("pico")
    assert len(list((tmp_path / "suites").iterdir())) == 2
    for a, b in zip(built, cached, strict=True):
        assert (a.name, a.classes, a.templates) == (b.name, b.classes, b.templates)
        for split in suites.SPLITS:
            assert torch.equal(a.split(split).inputs.values, b.split(split).inputs.values)
            assert torch.equal(a.split(split).labels, b.split(split).labels)


def test_a_suite_reports_on_the_first_test_inputs_of_each_task():
    suite = load_suite("pico")
    fewer = suite.reporting(7)
    assert fewer.names == suite.names
    for few, task in zip(fewer, suite, strict=True):
        assert len(few.test) == 7 and torch.equal(few.test.labels, task.test.labels[:7])
        assert torch.equal(few.val.labels, task.val.labels)
    assert len(suite.reporting(None)["bars"].test) == len(suite["bars"].test)
    with pytest.raises(ValueError, match="at least one test input a task, not 0"):
        suite.reporting(0)


def test_an_unknown_suite_or_task_is_named_with_the_nearest():
    with pytest.raises(ValueError, match="unknown suite 'desks'.*did you mean 'desk'"):
        load_suite("desks")
    with pytest.raises(KeyError, match="unknown task 'bar' in suite 'pico'; did you mean 'bars'"):
        load_suite("pico")["bar"]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 1], "images must be uint8"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 1], "images must be uint8"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0], "labels must be int64"),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 2], "labels run from 0 to 2, but there are 2"),
        (np.zeros((0, 3, 4, 4), np.uint8), [], "no images"),
    ],
)
def test_a_split_that_does_not_fit_is_refused_by_name(images, labels, message):
    good = Split(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    bad = Split(torch.from_numpy(images), torch.tensor(labels, dtype=torch.int64))
    with pytest.raises(ValueError, match=f"task 'x', val: .*{message}"):
        Task("x", "X", ("a", "b"), ("{}",), "rendered", "", train=good, val=bad, test=good)
