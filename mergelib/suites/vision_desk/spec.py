"""The `vision-desk` suite, declared apart from what draws it: importing this imports no generator,
and a change of the recipe draws no image again."""

from mergelib.models.tower import shipped
from mergelib.suites.recipe import FineTuning
from mergelib.suites.spec import Spec

# The tasks vary by themselves and need little augmentation.
SPEC = Spec(
    name="vision-desk",
    title="eight image tasks that the installed packages carry",
    tasks=("digits", "mnist", "numbers", "signs", "scripts", "flags", "clocks", "dominoes"),
    module="mergelib.suites.vision_desk.suite",
    base=shipped("merge-vit-48-8"),
    recipe=FineTuning(),
    size=48,
)
