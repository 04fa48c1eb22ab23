"""The `desk` suite, declared apart from what makes it: importing this imports no task, and a
change of the recipe makes no text again."""

from mergelib.models.text import MINILM
from mergelib.suites.recipe import OF_TEXTS
from mergelib.suites.spec import Spec

SPEC = Spec(
    name="desk",
    title="eight text tasks that the installed packages carry",
    tasks=(
        "diagnoses",
        "commands",
        "languages",
        "genre",
        "sentiment",
        "docs",
        "code",
        "places",
    ),
    module="mergelib.suites.desk.suite",
    base=MINILM,
    recipe=OF_TEXTS,
    heads="zero-shot",
    inputs="tokens",
    size=32,
)
