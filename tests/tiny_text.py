"""A BERT of two layers and forty words in the layout of the base's pip package, and a suite on it.

`lay_out` writes the package; `SPEC`, `key` and `build` are a suite's (mergelib/suites/spec.py).
"""

import hashlib
import random
from pathlib import Path

import torch

from mergelib.models import _torchvision  # noqa: F401  (must come before transformers)
from mergelib.models.text import Package, SentenceBase
from mergelib.suites.recipe import FineTuning
from mergelib.suites.spec import Spec
from mergelib.suites.suite import Suite, Task
from mergelib.suites.texts import Texts

NAME, VERSION, PATH = "tiny-sentence-bert", "1.2", "tiny_sentence_bert/model"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ANIMALS = ("cat", "dog", "cow", "hen", "pig", "fox")
FRUITS = ("fig", "plum", "pear", "lime", "date", "kiwi")
OTHERS = ("a", "the", "is", "of", "big", "small", "old", "new", "with", "and", "text", "about")
WORDS = SPECIAL + ANIMALS + FRUITS + OTHERS + ("animal", "fruit", "first", "last", ".", ",")


def tiny_bert():
    """A random BERT of two layers with its pooler, which a sentence encoder leaves out."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=24,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def lay_out(site: Path) -> SentenceBase:
    """The package in a folder of installed packages, which must be on sys.path; importing it is an
    error. Returns the base that reads it."""
    from transformers import BertTokenizer

    folder = site / PATH
    folder.mkdir(parents=True)
    tiny_bert().save_pretrained(folder)
    (site / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    (folder.parent / "__init__.py").write_text("raise ImportError('only the files are read')")
    about = site / f"{NAME.replace('-', '_')}-{VERSION}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n")
    (about / "RECORD").write_text(f"{PATH}/model.safetensors,,\n{PATH}/config.json,,\n")
    body = (folder / "model.safetensors").read_bytes()
    return SentenceBase(Package(NAME, VERSION, PATH, hashlib.sha256(body).hexdigest()))


COUNTS = ((0, 80), (1, 40), (2, 40))  # of texts: train, val, test
SPEC = Spec(
    name="tiny-text",
    title="two tasks on sentences of a few words",
    tasks=("kinds", "order"),
    module=__name__,
    base=SentenceBase("nowhere"),  # a test puts its own in this place
    recipe=FineTuning(
        epochs=6, batch=4, lr=1e-2, l2sp=0.0, warmup_steps=2, schedule="linear", dropout=False
    ),
    heads="zero-shot",
    inputs="tokens",
    size=12,
)


def key() -> str:
    return "tiny"


def build() -> Suite:
    return Suite(SPEC.name, SPEC.size, {name: _task(name) for name in SPEC.tasks})


def _task(name: str) -> Task:
    classes = {"kinds": ("animal", "fruit"), "order": ("first", "last")}[name]
    parts = [[_sentence(name, i % 2, f"{name} {s} {i}") for i in range(n)] for s, n in COUNTS]
    texts = Texts(*parts)
    return Task(
        name=name,
        title=name.title(),
        classes=classes,
        templates=("a text about {}.",),
        origin="drawn",
        note="",
        **texts.splits(lambda rows: SPEC.base.tokens(rows, SPEC.size)),
    )


def _sentence(name: str, label: int, seed: str) -> tuple[str, int]:
    """Some words among others: half of one kind, or a dog at the beginning or at the end."""
    rng = random.Random(seed)
    words = rng.choices(OTHERS, k=rng.randint(2, 8))
    if name == "kinds":
        for place in rng.sample(range(len(words)), (len(words) + 2) // 2):
            words[place] = rng.choice((ANIMALS, FRUITS)[label])
    else:
        words.insert(0 if label == 0 else len(words), "dog")
    return " ".join(words), label
