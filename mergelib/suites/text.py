"""The `text` suite: eight benchmarks of text classification, from parquet under `$MERGELIB_DATA`.

The class names are plain English words for the benchmarks' own labels, and so are the prompts: the
field has none for sentence encoders. The validation split is cut from train by seed.
"""

from dataclasses import dataclass, replace

from mergelib.cache import storage
from mergelib.models.text import MINILM
from mergelib.suites.parquet import class_names, data_folder, load_rows
from mergelib.suites.recipe import OF_TEXTS
from mergelib.suites.spec import Spec
from mergelib.suites.suite import Suite, Task
from mergelib.suites.texts import Texts, plain, shuffled, without_repetitions

TOKENS = 40
SPEC = Spec(
    name="text",
    title="eight benchmarks of text classification",
    tasks=("agnews", "trec", "sst2", "sms", "emotion", "banking", "clinc", "newsgroups"),
    module=__name__,
    base=MINILM,
    recipe=replace(OF_TEXTS, batch=16, lr=1e-4),
    heads="zero-shot",
    inputs="tokens",
    size=TOKENS,
)
SEED = 0
TRAIN, VAL = 2400, 500  # at most; test is what the files have


@dataclass(frozen=True)
class Source:
    """Where one task's rows lie (`text/<folder>`), what its classes are called in plain English, in
    the order of the labels, and how they are prompted. `classes` None: the file's names, words
    apart."""

    folder: str
    title: str
    templates: tuple[str, ...]
    note: str
    classes: tuple[str, ...] | None = None


SOURCES = {
    "agnews": Source(
        "agnews_testpart",
        "AG News",
        ("news about {}.",),
        "Title and first sentences of a news item → topic: AG News (Zhang et al. 2015), its "
        "official test rows.",
        ("business", "science and technology", "sports", "world politics"),
    ),
    "trec": Source(
        "trec6",
        "TREC-6",
        ("a question that asks for {}.",),
        "Question → kind of answer: TREC-6 (Li and Roth 2002).",
        (
            "the meaning of an abbreviation",
            "a description or an explanation",
            "a thing, an animal or a work",
            "a person or a group",
            "a place",
            "a number or a date",
        ),
    ),
    "sst2": Source(
        "sst2",
        "SST-2",
        ("a {} review of a film.",),
        "Sentence of a film review → polarity: SST-2 (Socher et al. 2013).",
        ("negative", "positive"),
    ),
    "sms": Source(
        "sms_spam",
        "SMS spam",
        ("{}.",),
        "Text message → wanted or not: SMS Spam Collection (Almeida et al. 2011), CC BY 4.0.",
        ("a personal message to a friend", "an advertisement, you have won a prize"),
    ),
    "emotion": Source(
        "tweet_emotion",
        "TweetEval emotion",
        ("a tweet full of {}.",),
        "Tweet → emotion: TweetEval (Barbieri et al. 2020).",
        ("anger", "joy", "optimism", "sadness"),
    ),
    "banking": Source(
        "banking77",
        "BANKING77",
        ("a bank's customer asks about: {}.",),
        "Message to a bank → intent: BANKING77 (Casanueva et al. 2020), CC BY 4.0.",
    ),
    "clinc": Source(
        "clinc10_domain",
        "CLINC150 domains",
        ("a request about {}.",),
        "Request to an assistant → domain: CLINC150 (Larson et al. 2019), CC BY 3.0.",
        (
            "the car and the way to work",
            "banking",
            "credit cards",
            "the home",
            "the kitchen and dining",
            "the assistant itself",
            "small talk",
            "travel",
            "a tool such as a timer, a clock or a calculator",
            "work",
        ),
    ),
    "newsgroups": Source(
        "20news_35pct",
        "20 Newsgroups",
        ("a post about {}.",),
        "Post → newsgroup: 20 Newsgroups by date (Lang 1995), about a third of the posts.",
        (
            "atheism",
            "computer graphics",
            "Microsoft Windows",
            "PC hardware",
            "Mac hardware",
            "the X window system",
            "things for sale",
            "cars",
            "motorcycles",
            "baseball",
            "ice hockey",
            "cryptography",
            "electronics",
            "medicine",
            "space",
            "Christianity",
            "guns and politics",
            "politics in the Middle East",
            "politics",
            "religion",
        ),
    ),
}


def key() -> str:
    folder = data_folder() / "text"
    sources = {
        name: storage.key_of_files(
            folder / source.folder / f"{split}.parquet" for split in ("train", "test")
        )
        for name, source in SOURCES.items()
    }
    return storage.key_of(
        code=storage.key_of_files([__file__]), tokens=SPEC.base.key(), size=SPEC.size, **sources
    )


def build() -> Suite:
    """Raises FileNotFoundError naming the first parquet file that is missing, ValueError naming
    one whose classes are others than those of SOURCES."""
    folder = data_folder() / "text"
    return Suite(SPEC.name, SPEC.size, {name: _task(name, folder) for name in SOURCES})


def _task(name: str, folder) -> Task:
    source = SOURCES[name]
    rows = {
        split: load_rows(folder / source.folder, split, column="text")
        for split in ("train", "test")
    }
    own = class_names(rows["train"])
    classes = source.classes or tuple(n.replace("_", " ").strip("?") for n in own or ())
    if own is None or len(own) != len(classes):
        raise ValueError(
            f"{folder / source.folder}: the column `label` must carry the names of "
            f"{len(source.classes or ()) or 'its'} classes"
        )
    pairs = {
        split: [(plain(t), y) for t, y in zip(r["text"], r["label"], strict=True)]
        for split, r in rows.items()
    }
    test = without_repetitions(shuffled(pairs["test"], f"{name}/test/{SEED}"))
    rest = shuffled(without_repetitions(pairs["train"], test), f"{name}/train/{SEED}")
    texts = Texts(train=rest[VAL : VAL + TRAIN], val=rest[:VAL], test=test)
    return Task(
        name=name,
        title=source.title,
        classes=classes,
        templates=source.templates,
        origin="written",
        note=source.note,
        **texts.splits(lambda texts: SPEC.base.tokens(texts, SPEC.size)),
    )
