"""The study as steps with content keys: suite → experts → notebooks → book.

The Snakefile asks here for every step's key and declares it as the step's parameter; a step
runs again if and only if its key changed or its output is missing.
"""

from dataclasses import dataclass
from pathlib import Path

from mergelib.storage import ROOT, key_of
from mergelib.study import keys
from mergelib.study.profiles import Profile, StudyError, load_profile

SUITES = {
    "pico": "mergelib.tasks.pico",
    "desk": "mergelib.tasks.desk",
    "standard": "mergelib.tasks.standard",
    "paper": "mergelib.tasks.paper",
}
STAGE_MODULES = {
    "suite": ("mergelib.tasks", "mergelib.models.base", "mergelib.models.heads"),
    "experts": ("mergelib.training.experts",),
}
RUNNER = "mergelib.study.execute"
BOOK_TOOLS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "sphinx-mathjax-offline")


@dataclass(frozen=True)
class Plan:
    """A profile and the keys of its steps."""

    profile: Profile
    suite: str
    experts: dict[str, str]
    notebooks: dict[str, str]
    book: str


def plan(name: str, root: Path = ROOT) -> Plan:
    """Keys of every step of profile `name`. Raises StudyError for anything misnamed."""
    profile = load_profile(name, root / "notebooks")
    versions, cut = keys.versions(), _other_suites(profile.suite, root)
    own = [SUITES[profile.suite]] if keys.module_path(SUITES[profile.suite], root) else []

    def code(modules) -> str:
        return keys.sources_key(keys.closure([*modules, *own], cut, root), root)

    suite = key_of(
        stage="suite",
        suite=profile.suite,
        code=code(STAGE_MODULES["suite"]),
        files=_files(profile.files, root),
        versions=versions,
    )
    expert_code = code(STAGE_MODULES["experts"])
    experts = {
        task: key_of(stage="experts", task=task, suite=suite, code=expert_code)
        for task in profile.tasks
    }
    notebooks = {}
    for chapter in profile.chapters.values():
        imports = keys.notebook_imports(chapter.path, root)
        notebooks[chapter.name] = key_of(
            cells=keys.notebook_key(chapter.path),
            parameters=chapter.parameters,
            code=code(imports),
            runner=keys.file_key(keys.module_path(RUNNER, root)),
            files=_files(chapter.files, root),
            suite=suite,
            experts=experts,
            needs={n: notebooks[n] for n in chapter.needs},
            versions=versions,
        )
    book = key_of(
        profile=[profile.name, profile.title],
        notebooks=notebooks,
        pages={str(p.relative_to(root)): keys.file_key(p) for p in _book_sources(root)},
        tools={tool: keys.version(tool) for tool in BOOK_TOOLS},
    )
    return Plan(profile, suite, experts, notebooks, book)


def _other_suites(suite: str, root: Path) -> set[str]:
    """Modules of the suites that this one does not use: their changes do not concern it."""
    if suite not in SUITES:
        raise StudyError(f"unknown suite {suite!r} in profiles.yaml (known: {', '.join(SUITES)})")
    present = {s for s in SUITES.values() if keys.module_path(s, root)}
    used = keys.closure(present & {SUITES[suite]}, root=root)
    every = {m for s in present - used for m in keys.closure([s], root=root)}
    return {m for m in every - used if any(m == s or m.startswith(f"{s}.") for s in present)}


def _files(patterns, root: Path) -> dict[str, str]:
    """Keys of the files that patterns name from the study's root; each must match one."""
    found = {}
    for pattern in patterns:
        matches = [p for p in sorted(root.glob(pattern)) if p.is_file()]
        if not matches:
            raise StudyError(f"profiles.yaml names the file {pattern}, which does not exist")
        found.update({str(p.relative_to(root)): keys.file_key(p) for p in matches})
    return found


def _book_sources(root: Path) -> list[Path]:
    book = [
        p
        for p in (root / "book").rglob("*")
        if p.is_file() and not {"_executed", "__pycache__"} & set(p.parts)
    ]
    builder = keys.module_path("mergelib.study.book", root)
    return sorted([*book, root / "_config.yml", *([builder] if builder else [])])
