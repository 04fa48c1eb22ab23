"""The registry, and that a method is added by one file and one line."""

import subprocess
import sys

import pytest
import torch
from toys import one_tensor, toy_bench

import mergelib as ml
from mergelib.methods import entry as entering
from mergelib.methods import registry


@pytest.fixture
def tv():
    return one_tensor(torch.randn(3, 50, generator=torch.Generator().manual_seed(0)))


def test_every_entry_is_complete_and_runs_with_its_defaults(tv):
    assert list(ml.methods.entries)[:4] == ["average", "task_arithmetic", "ties", "dare"]
    for name, entry in ml.methods.entries.items():
        assert entry.name == name == entry.function.__name__
        assert entry.family in entering.FAMILIES and entry.needs in entering.NEEDS
        assert entry.title and entry.paper and entry.function.__doc__
        if entry.family == "static" and entry.needs == "nothing":
            merged = entry.function(tv)
            assert torch.equal(merged, entry.function(tv, **entry.defaults))
            assert merged.shape == tv.base.shape and merged.isfinite().all()


def test_adaptive_methods_take_a_bench_and_task_vectors():
    """function(bench, task vectors, **numbers): the record's `merged` is one vector of weights."""
    bench, tv = toy_bench()
    adaptive = {n: m for n, m in ml.methods.entries.items() if m.family == "adaptive"}
    assert {"adamerging", "concrete_task_arithmetic", "concrete_adamerging"} <= set(adaptive)
    for entry in adaptive.values():
        assert entry.needs == "unlabelled inputs, sorted by task"
        few = {name: 2 for name in entry.defaults if name.endswith("steps")}
        merged = entry.function(bench, tv, **{**entry.defaults, **few}).merged
        published = entry.function(bench, tv, **{**entry.published, **few}).merged
        assert published.shape == tv.base.shape and published.isfinite().all()
        assert merged.shape == tv.base.shape and merged.isfinite().all()
        assert not torch.equal(merged, tv.base)


def test_defaults_are_those_of_the_signature():
    assert ml.methods.entries["average"].defaults == {}
    assert ml.methods.entries["ties"].defaults == {"density": 0.2, "scale": 0.3, "merge": "sum"}


def test_settings_objects_stand_for_their_fields_and_papers_have_their_own():
    entry = ml.methods.entries["wemoe"]
    ours = {"depth": 1, "noise": 0.0, "standardise": True, "lr": 5e-4, "steps": 100}
    papers = {"depth": 2, "noise": 0.01, "standardise": False, "lr": 1e-4, "steps": 1000}
    assert ours.items() <= entry.defaults.items() and papers.items() <= entry.published.items()
    for entry in ml.methods.entries.values():
        assert set(entry.published) <= set(entry.defaults)
        assert bool(entry.published) == (entry.family != "static"), entry.name


def test_a_published_setting_that_the_function_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(entering, "registered", dict(entering.registered))

    def new(tv, scale=0.3):
        return tv.base

    with pytest.raises(ValueError, match="unknown published setting 'scael'.*did you mean 'scale'"):
        entering.method(title="x", family="static", paper="x", published={"scael": 1})(new)


def test_an_unknown_method_is_named_with_those_there_are():
    with pytest.raises(KeyError) as error:
        ml.methods.entries["tie"]
    assert str(error.value).startswith("no method 'tie' among average, task_arithmetic, ties")
    assert str(error.value).endswith("did you mean 'ties'?")


NEW_METHOD = '''
from mergelib.methods.entry import method

@method(title="Half way", family="static", paper="nobody2030halfway")
def half_way(tv, share=0.5):
    """θ0 + share · mean τ."""
    return tv.base + share * tv.deltas.mean(0)
'''


def test_a_method_is_added_by_a_file_and_a_line(tmp_path, monkeypatch, tv):
    (tmp_path / "half_way_file.py").write_text(NEW_METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(entering, "registered", dict(entering.registered))
    monkeypatch.setattr(registry, "FILES", (*registry.FILES, "half_way_file"))
    assert list(ml.methods.entries)[-1] == "half_way"
    entry = ml.methods.entries["half_way"]
    assert (entry.title, entry.paper, entry.needs) == ("Half way", "nobody2030halfway", "nothing")
    assert entry.defaults == {"share": 0.5}
    torch.testing.assert_close(entry.function(tv), tv.base + tv.deltas.mean(0) / 2)


def test_registering_refuses_unknown_words_and_taken_names(monkeypatch):
    monkeypatch.setattr(entering, "registered", dict(entering.registered))
    with pytest.raises(ValueError, match="family must be one of .* not 'dynamic'"):
        entering.method(title="x", family="dynamic", paper="x")
    with pytest.raises(ValueError, match="needs must be one of .* not 'luck'"):
        entering.method(title="x", family="static", paper="x", needs="luck")

    def ties(tv):
        return tv.base

    with pytest.raises(ValueError, match="'ties' is registered by mergelib.merging.ties and by"):
        entering.method(title="x", family="static", paper="x")(ties)


def test_importing_the_package_is_light():
    heavy = "open_clip transformers matplotlib sklearn pandas datasets timm"
    code = f"import sys, mergelib; print([m for m in '{heavy}'.split() if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
