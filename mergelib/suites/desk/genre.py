"""Genre: a sentence about a film → whether it tells the plot or judges the film."""

from mergelib.suites.desk import films
from mergelib.suites.desk.about import About
from mergelib.suites.texts import Texts

TRAIN = 1200  # enough for an expert

ABOUT = About(
    name="genre",
    title="Genre",
    classes=("what happens to the characters of a story", "a critic's opinion of a film"),
    templates=("a sentence about {}.",),
    note="Sentence about a film → of a plot summary or of a review; all that is about one film is "
    "in one split, here and in the task sentiment.",
    **films.SOURCE,
)


def build(seed: int) -> Texts:
    return films.build(lambda kind: int(kind != "plot"), seed, TRAIN)
