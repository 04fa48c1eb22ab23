"""The study as steps with content keys: suite → experts → notebooks → book.

The Snakefile asks here for every step's key and declares it as the step's parameter; a step
runs again if and only if its key changed or its output is missing.
"""

import glob
import os
from dataclasses import dataclass
from pathlib import Path

from mergelib.cache import keys, sources
from mergelib.cache.storage import ROOT, key_of
from mergelib.study.profiles import Profile, StudyError, load_profile
from mergelib.study.suites import REGISTRY, declared_suites, suite_of

STAGE_MODULES = {
    "suite": ("mergelib.suites", "mergelib.suites.bases", "mergelib.models.heads"),
    "experts": ("mergelib.training.experts",),
}
RUNNER = "mergelib.study.execute"
JOBS_AT_ONCE = 3  # chapters that find their needs met at the same time, about
BOOK_TOOLS = ("jupyter-book", "sphinx", "myst-nb", "sphinx-book-theme", "sphinx-mathjax-offline")


@dataclass(frozen=True)
class Plan:
    """A profile and the keys of its steps."""

    profile: Profile
    suite: str
    experts: dict[str, str]
    notebooks: dict[str, str]
    book: str

    def threads(self, notebook: str, cores: int) -> int:
        """How many threads a chapter runs with: one where others can run at its side, because two
        jobs of one thread each do more than one of two; all cores for a chapter that is alone.

        What a chapter can meet at its side neither precedes nor follows it; chapters that need
        nothing are long done when one comes that does.
        """
        chapters = self.profile.chapters
        before = self._before(notebook)
        beside = [
            name
            for name, other in chapters.items()
            if other.needs and name != notebook and name not in before
            if notebook not in self._before(name)
        ]
        alone = bool(chapters[notebook].needs) and not beside
        return cores if alone else max(1, cores // JOBS_AT_ONCE)

    def _before(self, notebook: str) -> set[str]:
        """All chapters that a chapter needs, directly or not."""
        direct = set(self.profile.chapters[notebook].needs)
        return direct.union(*(self._before(name) for name in direct))


def plan(name: str, root: Path = ROOT) -> Plan:
    """Keys of every step of profile `name`. Raises StudyError for anything misnamed."""
    profile = load_profile(name, root / "notebooks")
    versions = keys.versions()
    suites = declared_suites(root)
    declared = suite_of(profile.suite, suites, name)
    # Which other suites there are, and what they are, is no concern of this one.
    cut = {REGISTRY, *(suite.own for suite in suites.values())} - {declared.own}

    def code(modules) -> str:
        return keys.sources_key(sources.closure([*modules, declared.module], cut, root), root)

    suite = key_of(
        stage="suite",
        suite=profile.suite,
        code=code(STAGE_MODULES["suite"]),
        files=_files(profile.files, root),
        compute=[profile.device, profile.precision],
        versions=versions,
    )
    expert_code = code(STAGE_MODULES["experts"])
    of_experts = {"stage": "experts", "suite": suite, "seed": profile.seed, "code": expert_code}
    experts = {task: key_of(task=task, **of_experts) for task in declared.tasks}
    notebooks = {}
    for chapter in profile.chapters.values():
        used = sources.used_by_notebook(chapter.path, root)
        notebooks[chapter.name] = key_of(
            cells=keys.notebook_key(chapter.path),
            parameters=chapter.parameters,
            code=code(used),
            runner=keys.file_key(sources.module_path(RUNNER, root)),
            files=_files(chapter.files, root),
            suite=suite,
            experts=experts,
            needs={n: notebooks[n] for n in chapter.needs},
            versions=versions,
        )
    pages = root / "book" / "pages"
    of_book = key_of(
        profile=[profile.name, profile.title],
        notebooks=notebooks,
        pages={str(p.relative_to(root)): keys.file_key(p) for p in _book_sources(root)},
        code=[code(sources.used_by_notebook(p, root)) for p in sorted(pages.glob("*.ipynb"))],
        tools={tool: keys.version(tool) for tool in BOOK_TOOLS},
    )
    return Plan(profile, suite, experts, notebooks, of_book)


def _files(patterns, root: Path) -> dict[str, str]:
    """Keys of the files that patterns name from the study's root; each must match one.

    `$NAME` in a pattern stands for an environment variable.
    """
    found = {}
    for pattern in patterns:
        expanded = os.path.expandvars(pattern)
        if "$" in expanded:
            raise StudyError(
                f"set the environment variable in {pattern!r}: data/README.md says how"
            )
        matches = [p for p in map(Path, glob.glob(str(root / expanded))) if p.is_file()]
        if not matches:
            raise StudyError(f"profiles.yaml names the files {pattern!r}, and there are none")
        found.update({f"{p.parent.name}/{p.name}": keys.file_key(p) for p in matches})
    return found


def _book_sources(root: Path) -> list[Path]:
    book = [
        p
        for p in (root / "book").rglob("*")
        if p.is_file() and not {"_executed", "__pycache__"} & set(p.parts)
    ]
    builder = sources.module_path("mergelib.study.book", root)
    return sorted([*book, root / "_config.yml", *([builder] if builder else [])])
