"""The `text-desk` suite, declared apart from what makes it: importing this imports no task, and a
change of the recipe makes no text again."""

from mergelib.models.text import MINILM
from mergelib.suites.recipe import FineTuning
from mergelib.suites.spec import Spec

SPEC = Spec(
    name="text-desk",
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
    module="mergelib.suites.text_desk.suite",
    base=MINILM,
    recipe=FineTuning(
        epochs=3,
        batch=16,
        lr=1.5e-4,
        l2sp=0.0,
        warmup_steps=20,
        schedule="linear",
        dropout=False,
    ),
    heads="zero-shot",
    inputs="tokens",
    size=32,
)
