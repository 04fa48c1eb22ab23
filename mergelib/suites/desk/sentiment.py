"""Sentiment: a sentence of a film review → whether it recommends the film."""

from mergelib.suites.desk import films
from mergelib.suites.desk.about import About
from mergelib.suites.desk.splits import Row, by_name, divided
from mergelib.suites.texts import Texts

ABOUT = About(
    name="sentiment",
    title="Sentiment",
    classes=("negative", "positive"),
    prompts=("a {} review of a film.",),
    note="Sentence of a film review → polarity; all that is about one film is in one split, here "
    "and in the task genre.",
    **films.SOURCE,
)


def build(seed: int) -> Texts:
    rows = [
        Row(s.text, int(s.kind == "fresh"), s.film) for s in films.sentences() if s.kind != "plot"
    ]
    return divided(rows, seed, by_name({row.group for row in rows}, seed))
