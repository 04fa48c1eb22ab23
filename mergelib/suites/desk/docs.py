"""Docs: the beginning of a docstring → what its package is for."""

import ast
import re
import warnings
from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.packages import files, read
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts, shuffled

TOPICS = {
    "deep learning": ("transformers", "timm"),
    "plotting": ("matplotlib", "seaborn"),
    "symbolic mathematics": ("sympy",),
    "graphs and networks": ("networkx",),
    "writing documentation": ("sphinx", "docutils", "myst-parser", "myst-nb"),
    "tables of data": ("pandas", "datasets"),
}
# Words that name a package whose docstrings are read.
NAMES = re.compile(
    r"transformers|hugging|timm|matplotlib|seaborn|sympy|networkx|sphinx|docutils|myst|pandas|"
    r"datasets",
    re.IGNORECASE,
)
FILES, PER_FILE = 100, 12  # at most: files of a package, docstrings of a file
FEWEST, MOST = 16, 40  # words: what is shorter says little, what is longer is cut
TRAIN = 1600

ABOUT = About(
    name="docs",
    title="Docs",
    classes=tuple(TOPICS),
    templates=("documentation of a program for {}.",),
    note="First 40 words of a docstring → subject of its package; those that name one of the "
    "packages are left out, and all of a file are in one split.",
    origin="docstrings",
    authors="the packages' authors",
    packages=tuple(package for several in TOPICS.values() for package in several),
    licence="that of each package: Apache-2.0, BSD, MIT, or similar",
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed, train=TRAIN)


def rows(seed: int) -> Iterator[Row]:
    """Beginnings; a group is a file."""
    for label, packages in enumerate(TOPICS.values()):
        for package in packages:
            for path in shuffled(files(package, ".py"), f"{package}/{seed}")[:FILES]:
                source = read(package, path).read_text(encoding="utf-8", errors="replace")
                several = list(dict.fromkeys(beginnings(source)))
                for text in shuffled(several, f"{path}/{seed}")[:PER_FILE]:
                    yield Row(text, label, f"{package}/{path}")


def beginnings(source: str) -> Iterator[str]:
    """The first words of a source's docstrings, without markup."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # the escapes of other people's strings
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (docstring := ast.get_docstring(node)):
            words = re.sub(r":[\w:]+:(?=`)|[`*~]+", "", docstring).split()[:MOST]
            text = " ".join(words)
            if len(words) >= FEWEST and not NAMES.search(text):
                yield text
