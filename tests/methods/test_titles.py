"""Keys of methods and their titles."""

import pytest

from mergelib.methods import entries
from mergelib.methods.titles import name_of, title_of


@pytest.mark.parametrize(
    ("key", "name", "title"),
    [
        ("ties", "ties", "TIES"),
        ("adamerging, tensor-wise, on test", "adamerging", "AdaMerging, tensor-wise, on test"),
        ("base, linear probe", "base", "Base, linear probe"),
        ("expert", "expert", "Expert"),
        ("|δ|, signs of Στ", "|δ|", "|δ|, signs of Στ"),
    ],
)
def test_a_key_is_a_name_and_a_variant(key, name, title):
    assert name_of(key) == name and title_of(key) == title


def test_every_method_has_its_own_title():
    titles = [title_of(name) for name in entries]
    assert len(set(titles)) == len(entries) and not set(titles) & set(entries)
