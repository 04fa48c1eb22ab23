"""What several test files share: one pico run of the study and the book made from it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mergelib.cache.storage import ROOT
from mergelib.study import book, execute
from mergelib.study.profiles import Profile, load_profile

NEED_THE_PICO_RUN = tuple(f"tests/study/test_{n}.py" for n in ("notebooks", "book", "jupyter"))

# Tests that run side by side, and the kernels that they start, share the cores by one thread each:
# two processes of two threads slow each other down severalfold.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """What runs side by side (pytest -n): files, but those that need the pico run are one piece."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.partition("::")[0]
            return "pico" if file in NEED_THE_PICO_RUN else file

    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    """The tests of the pico run come first, since they take longest; tests marked `cuda` run
    wherever torch sees a CUDA device, and nowhere else."""
    items.sort(key=lambda item: "pico_run" not in item.fixturenames)
    strangers = {i.nodeid.partition("::")[0] for i in items if "pico_run" in i.fixturenames}
    assert strangers <= set(NEED_THE_PICO_RUN), f"add {strangers} to NEED_THE_PICO_RUN"
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device, and torch sees none")
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(skip)


@pytest.fixture
def book_style():
    """The style of the book's figures, drawn without a screen, and every figure closed after."""
    import matplotlib

    from mergelib import figures

    matplotlib.use("Agg")
    with matplotlib.rc_context():
        figures.use_style()
        yield
    matplotlib.pyplot.close("all")


@dataclass(frozen=True)
class Run:
    """A run of all notebooks of a profile, away from the checkout's own results."""

    profile: Profile
    folder: Path
    executed: dict[str, Path]
    environment: dict[str, str]


@pytest.fixture(scope="session")
def pico_run(tmp_path_factory) -> Run:
    """The whole study in the profile `pico`, in a fresh folder, nothing cached."""
    folder = tmp_path_factory.mktemp("pico")
    environment = {
        "MERGELIB_RESULTS": str(folder / "results"),
        "MERGELIB_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    profile = load_profile("pico")
    executed = {}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for name, chapter in profile.chapters.items():
            executed[name] = folder / "executed" / f"{name}.ipynb"
            execute.run_notebook(chapter.path, executed[name], chapter.parameters)
    return Run(profile, folder, executed, {**os.environ, **environment})


@pytest.fixture(scope="session")
def pico_book(pico_run) -> Path:
    """The folder of the built pages of the pico run."""
    source = pico_run.folder / "book"
    shutil.copytree(ROOT / "book", source, ignore=shutil.ignore_patterns("_executed"))
    shutil.copy(ROOT / "_config.yml", pico_run.folder)
    book.stage(pico_run.profile, pico_run.executed, source)
    return book.build(source, pico_run.folder / "_config.yml", pico_run.folder / "_build").parent
