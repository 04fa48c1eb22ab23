"""Texts on their way to a suite: repetitions, whole groups in one split, templates, benchmarks."""

import itertools
from collections import Counter

import pytest
import tiny_text

from mergelib.suites import load_suite, text
from mergelib.suites.desk.grammar import Grammar, Unfillable, words_of
from mergelib.suites.desk.splits import COUNTS, Row, by_name, dealt_out, divided
from mergelib.suites.texts import seen_as, shuffled, spread, without_repetitions

SPLITS = ("train", "val", "test")


def test_what_a_reader_would_call_the_same_is_kept_once():
    pairs = [("Open it!", 0), ("open  it", 0), ("…", 1), ("Close it", 1), ("Ärger", 0)]
    assert without_repetitions(pairs) == [("Open it!", 0), ("Close it", 1), ("Ärger", 0)]
    assert without_repetitions(pairs, but=[("CLOSE IT.", 0)]) == [("Open it!", 0), ("Ärger", 0)]


def test_classes_get_as_many_as_there_are():
    pairs = [(f"{c}{i}", c) for c, n in ((0, 10), (1, 2), (2, 6)) for i in range(n)]
    chosen, others = spread(shuffled(pairs, 0), 11)
    assert Counter(y for _, y in chosen) == {0: 5, 1: 2, 2: 4}
    assert sorted(chosen + others) == sorted(pairs)
    assert spread(pairs, 100) == (pairs, [])


def test_groups_are_not_parted_and_every_split_has_its_share():
    rows = [
        Row(f"{c} {g} {i}", c, f"{c}/{g}")
        for c in range(3)
        for g in range(20)
        for i in range(1 + g % 5)
    ]
    places, found = dealt_out(rows, 0), divided(rows, 0)
    for split in SPLITS:
        pairs = getattr(found, split)
        assert {places[f"{y}/{t.split()[1]}"] for t, y in pairs} == {split}
        sizes = Counter(y for _, y in pairs)
        expected = 60 * COUNTS[split] / sum(COUNTS.values())
        assert all(abs(sizes[c] - expected) <= 4 for c in range(3))
    assert divided(rows, 0) == found != divided(rows, 1)


def test_a_text_of_two_classes_is_left_out_and_repetitions_stay_on_one_side():
    rows = [Row("same", 0, "a"), Row("Same", 1, "b")]
    rows += [Row(f"t{i % 30}", i % 30 % 2, f"g{i}") for i in range(300)]
    found = divided(rows, 0)
    texts = [{seen_as(t) for t, _ in getattr(found, split)} for split in SPLITS]
    assert "same" not in set.union(*texts)
    assert not any(a & b for a, b in itertools.combinations(texts, 2))


def test_a_group_s_split_by_name_is_that_of_every_task():
    names = [f"film {i}" for i in range(4000)]
    places = by_name(names, 0)
    assert by_name(names[:7], 0) == {name: places[name] for name in names[:7]}
    total = sum(COUNTS.values())
    shares = {s: n / 4000 for s, n in Counter(places.values()).items()}
    assert shares == pytest.approx({s: COUNTS[s] / total for s in SPLITS}, abs=0.03)


GRAMMAR = Grammar(
    {"the": "(the|my)", "loop": "<loop>"},
    words_of(
        {
            "room": {"values": ["hall", {"in": "[big] attic", "out": "attic"}]},
            "half": {"range": {"from": 10, "to": 30, "step": 10}},
            "free": {"wildcard": True},
        }
    ),
)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("open [<the>] {room:place}", {"open hall", "open the hall", "open my big attic"}),
        ("(up;{half} %)", {"up 10 %", "20 % up", "30 % up"}),
        ("light[s] on|dark", {"light on", "lights on", "dark"}),
    ],
)
def test_templates_say_what_they_may(template, said):
    found = GRAMMAR.sample(template, 50, 0)
    assert said <= set(found) and len(found) == len(set(found))
    assert not any(set(sentence) & set("[](){}<>|;") for sentence in found)
    assert GRAMMAR.sample(template, 50, 0) == found


@pytest.mark.parametrize("template", ["say {free}", "go <nowhere>", "<loop>", "(open", "open]"])
def test_a_template_without_words_is_refused(template):
    with pytest.raises(Unfillable):
        GRAMMAR.sample(template, 3, 0)


def write_texts(path, rows, names):
    import datasets

    features = {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)}
    columns = {"text": [t for t, _ in rows], "label": [y for _, y in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    table.to_parquet(str(path))


@pytest.fixture
def benchmarks(monkeypatch, tmp_path):
    """The text suite's folder with a few rows a class, read with a tiny tokenizer."""
    from dataclasses import replace

    monkeypatch.setenv("MERGELIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MERGELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    base = tiny_text.lay_out(tmp_path / "site")
    monkeypatch.setattr(text, "SPEC", replace(text.SPEC, base=base))
    monkeypatch.setattr(text, "VAL", 3)
    for name, source in text.SOURCES.items():
        names = [f"{name}_{i}" for i in range(len(source.classes or "ab"))]
        rows = [(f"text {c} {i}", c) for c in range(len(names)) for i in range(4)]
        folder = tmp_path / "data/text" / source.folder
        write_texts(folder / "train.parquet", [*rows, ("of both", 0)], names)
        write_texts(folder / "test.parquet", [("Of both.", 1), ("about it", 0)], names)
    return tmp_path / "data/text"


def test_the_text_suite_is_read_from_parquet_and_val_is_cut_from_train(benchmarks):
    suite = load_suite("text")
    assert suite.names == tuple(text.SOURCES)
    for task in suite:
        rows = 4 * len(task.classes)
        assert (len(task.train), len(task.val), len(task.test)) == (rows - 3, 3, 2)
        assert all(t.count("{}") == 1 for t in task.templates) and task.note.endswith(".")
    assert suite["banking"].classes == ("banking 0", "banking 1")


def test_other_classes_than_the_suite_s_are_refused(benchmarks):
    write_texts(benchmarks / "sst2/train.parquet", [("a", 0)], ["only"])
    with pytest.raises(ValueError, match="sst2: the column `label` must carry the names of 2"):
        load_suite("text")
    (benchmarks / "agnews_testpart/train.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="agnews_testpart/train.parquet"):
        load_suite("text")
