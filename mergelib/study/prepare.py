"""What the notebooks find ready: a suite's pixels and heads, and its experts.

Each stage keeps what it makes in the cache under a key of its own ingredients, so that asking
again is cheap; the small JSON returned here says what there is.
"""

import time

from mergelib.study.profiles import Profile, StudyError
from mergelib.study.progress import say as say_line

STAGES = ("suite", "experts")


def prepare_task(profile: Profile, stage: str, task: str | None = None, say=say_line) -> dict:
    """Make one stage: `suite` (pixels, base, heads of all tasks) or `experts` (one task).

    Returns what was made, as plain numbers and text. Raises StudyError for an unknown stage or
    task.
    """
    if stage not in STAGES:
        raise StudyError(f"unknown stage {stage!r} (known: {', '.join(STAGES)})")
    start = time.monotonic()
    made = _suite(profile) if stage == "suite" else _expert(profile, task, say)
    say(f"{stage}{'' if task is None else ' · ' + task} · {time.monotonic() - start:.0f} s")
    return made


def _suite(profile: Profile) -> dict:
    from mergelib.suites import SPLITS, load_suite, spec_of
    from mergelib.suites.bases import base_file
    from mergelib.training.experts import heads_file, load_heads

    suite = load_suite(profile.suite)
    load_heads(suite, profile.device, profile.precision)
    counts = {t.name: {s: len(t.split(s)) for s in SPLITS} for t in suite}
    return {
        "base": base_file(suite.name).name,
        "heads": heads_file(suite, profile.device, profile.precision).name,
        spec_of(suite.name).nouns[1]: counts,
    }


def _expert(profile: Profile, task: str | None, say) -> dict:
    from mergelib.suites import load_suite
    from mergelib.training.experts import train_expert, training_history

    suite = load_suite(profile.suite)
    if task not in suite.names:
        raise StudyError(f"unknown task {task!r} in suite {suite.name!r}: {', '.join(suite.names)}")

    def report(epoch: dict) -> None:
        numbers = (f"{k} {v:.4g}" for k, v in epoch.items() if isinstance(v, int | float))
        say(f"experts · {task} · " + " · ".join(numbers))

    run = {"seed": profile.seed, "device": profile.device, "precision": profile.precision}
    return {
        "expert": train_expert(suite, task, report=report, **run).name,
        "epochs": training_history(suite, task, **run),
    }
