"""The `desk` suite: the eight tasks' texts as a suite, with a key of what they are made of."""

import importlib
from pathlib import Path
from types import ModuleType

from joblib import Parallel, delayed

from mergelib.cache import storage
from mergelib.suites.desk.packages import check_versions, versions
from mergelib.suites.desk.spec import SPEC
from mergelib.suites.suite import Suite, Task
from mergelib.suites.texts import Texts

SEED = 0
MAKERS: dict[str, ModuleType] = {
    name: importlib.import_module(f"mergelib.suites.desk.{name}") for name in SPEC.tasks
}


def key() -> str:
    here = Path(__file__).parent
    code = [p for p in here.glob("*.py") if p.name != "spec.py"] + [here.parent / "texts.py"]
    return storage.key_of(
        code=storage.key_of_files(code),
        versions=versions(),
        tasks=SPEC.tasks,
        tokens=SPEC.base.key(),
        size=SPEC.size,
        seed=SEED,
    )


def build() -> Suite:
    """All eight tasks, in the book's order, read in as many processes as there are cores.

    Raises FileNotFoundError naming a missing package.
    """
    check_versions()
    parts = Parallel(n_jobs=-1)(delayed(_texts)(name) for name in SPEC.tasks)
    tasks = dict(zip(SPEC.tasks, map(_task, SPEC.tasks, parts), strict=True))
    return Suite(SPEC.name, SPEC.size, tasks)


def _texts(name: str) -> Texts:
    return MAKERS[name].build(SEED)


def _task(name: str, texts: Texts) -> Task:
    splits = texts.splits(lambda rows: SPEC.base.tokens(rows, SPEC.size))
    return Task.described(MAKERS[name].ABOUT, splits)
