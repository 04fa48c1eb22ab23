"""The published tables: readable, complete, and said where from."""

import pytest

from mergelib.analysis.published import published, published_curves, published_kept
from mergelib.cache.storage import ROOT

TABLES = sorted(p.stem for p in (ROOT / "data" / "published").glob("*.csv"))


@pytest.mark.parametrize("name", TABLES)
def test_every_number_has_a_source(name):
    table = published(name)
    assert len(table) and table["source"].str.len().gt(5).all()
    assert not table.select_dtypes("number").isna().any().any()
    assert f"`{name}.csv`" in (ROOT / "data" / "README.md").read_text()


def test_an_unknown_table_is_named_with_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no published table 'awdd' \(known: .*awd"):
        published("awdd")


def test_published_kept_shares_rise_and_are_those_of_two_layers():
    curves = published_kept()
    assert list(curves) == ["ViT-B/32", "ViT-B/16", "ViT-L/14"]
    assert all(c["kept"].is_monotonic_increasing and c["kept"].is_unique for c in curves.values())
    small = curves["ViT-B/32"].set_index("kept")["accuracy"]
    assert small[[1.0, 0.1, 0.01, 0.0]].round(4).tolist() == [0.8919, 0.8919, 0.8686, 0.6316]


def test_published_stages_are_joined_and_every_curve_has_its_steps():
    curves = published_curves()
    concrete = curves["concrete_adamerging, tensor-wise"]
    assert concrete["stage"].unique().tolist() == ["mask", "coefficients"]
    assert concrete["step"].iloc[[0, -1]].tolist() == [0, 3000]
    # Tang et al. 2023, table of ViT-B/32: 84.0 and 77.3 per cent.
    assert concrete["accuracy"].iloc[-1] == pytest.approx(0.840, abs=5e-4)
    table = curves["concrete_task_arithmetic"]
    assert table["accuracy"].iloc[-1] == pytest.approx(0.773, abs=5e-4)
    assert {"adamerging, task-wise", "adamerging, tensor-wise ++"} < set(curves)
    for curve in curves.values():
        assert curve["step"].is_monotonic_increasing and curve["accuracy"].between(0.5, 1).all()


def test_published_curves_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("mergelib.analysis.published.FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="no published table 'adaptation_curves'"):
        published_curves()
