"""Sentiment: a sentence of a film review → whether it recommends the film."""

from mergelib.suites.desk import films
from mergelib.suites.desk.about import About
from mergelib.suites.texts import Texts

ABOUT = About(
    name="sentiment",
    title="Sentiment",
    classes=("negative", "positive"),
    templates=("a {} review of a film.",),
    note="Sentence of a film review → polarity; all that is about one film is in one split, here "
    "and in the task genre.",
    **films.SOURCE,
)


def build(seed: int) -> Texts:
    return films.build({"rotten": 0, "fresh": 1}.get, seed)
