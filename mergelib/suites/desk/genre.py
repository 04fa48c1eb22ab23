"""Genre: a sentence about a film → whether it tells the plot or judges the film."""

from mergelib.suites.desk import films
from mergelib.suites.desk.about import About
from mergelib.suites.desk.splits import Row, by_name, divided
from mergelib.suites.texts import Texts

TRAIN = 1200  # enough for an expert

ABOUT = About(
    name="genre",
    title="Genre",
    classes=("what happens to the characters of a story", "a critic's opinion of a film"),
    prompts=("a sentence about {}.",),
    note="Sentence about a film → of a plot summary or of a review; all that is about one film is "
    "in one split, here and in the task sentiment.",
    **films.SOURCE,
)


def build(seed: int) -> Texts:
    rows = [Row(s.text, int(s.kind != "plot"), s.film) for s in films.sentences()]
    return divided(rows, seed, by_name({row.group for row in rows}, seed), TRAIN)
