"""Keys follow content; files appear whole or not at all."""

import pytest

from mergelib.cache import storage


def test_a_key_follows_names_and_values_but_not_their_order():
    assert storage.key_of(a=1, b="x") == storage.key_of(b="x", a=1)
    different = [storage.key_of(a=1), storage.key_of(a=2), storage.key_of(b=1), storage.key_of()]
    assert len(set(different)) == 4


def test_a_key_of_files_follows_bytes_and_names_but_not_the_folder(tmp_path):
    for folder, body in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f.py").write_bytes(body)
    one, same, other = (storage.key_of_files([tmp_path / d / "f.py"]) for d in "abc")
    assert one == same != other
    (tmp_path / "a" / "g.py").write_bytes(b"1")
    assert storage.key_of_files([tmp_path / "a" / "g.py"]) != one


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "numbers.json"
    with storage.atomic(path) as temporary:
        temporary.write_text("old")
    with pytest.raises(RuntimeError), storage.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["numbers.json"]


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGELIB_CACHE", str(tmp_path / "a b"))
    assert storage.cache_folder() == tmp_path / "a b"
