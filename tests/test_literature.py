"""The published tables: readable, complete, and said where from."""

import pytest

from mergelib.analysis import published
from mergelib.storage import ROOT

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
