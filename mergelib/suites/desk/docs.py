"""Docs: the beginning of a docstring → what the package that it is from is for."""

import ast
import re
import warnings
from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.packages import files, read
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts, plain, shuffled

TOPICS = {
    "deep learning": ("transformers", "timm"),
    "plotting": ("matplotlib", "seaborn"),
    "symbolic mathematics": ("sympy",),
    "graphs and networks": ("networkx",),
    "image files": ("pillow", "imageio", "scikit-image"),
    "writing documentation": ("sphinx", "docutils", "myst-parser", "myst-nb"),
    "tables of data": ("pandas", "datasets"),
    "running workflows": ("snakemake", "papermill", "nbclient"),
}
# Words that name a package whose docstrings are read.
NAMES = re.compile(
    r"transformers|hugging|timm|matplotlib|seaborn|sympy|networkx|pillow|\bPIL\b|imageio|scikit|"
    r"skimage|sphinx|docutils|myst|pandas|datasets|snakemake|papermill|nbclient",
    re.IGNORECASE,
)
FILES, PER_FILE = 160, 12  # at most: files of a package, docstrings of a file
WORDS = range(7, 41)

ABOUT = About(
    name="docs",
    title="Docs",
    classes=tuple(TOPICS),
    prompts=("documentation of a program for {}.",),
    note="First paragraph of a docstring → subject of its package; docstrings that name one of the "
    "packages are left out, and those of a file are in one split.",
    origin="docstrings",
    authors="the packages' authors",
    packages=tuple(package for several in TOPICS.values() for package in several),
    licence="that of each package: Apache-2.0, BSD, MIT, or similar",
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed)


def rows(seed: int) -> Iterator[Row]:
    """Paragraphs; a group is a file."""
    for label, packages in enumerate(TOPICS.values()):
        for package in packages:
            for path in shuffled(files(package, ".py"), f"{package}/{seed}")[:FILES]:
                source = read(package, path).read_text(encoding="utf-8", errors="replace")
                several = list(dict.fromkeys(paragraphs(source)))
                for text in shuffled(several, f"{path}/{seed}")[:PER_FILE]:
                    yield Row(text, label, f"{package}/{path}")


def paragraphs(source: str) -> Iterator[str]:
    """The first paragraphs of a source's docstrings, without markup."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # the escapes of other people's strings
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (docstring := ast.get_docstring(node)):
            first = re.split(r"\n\s*\n", docstring)[0]
            text = plain(re.sub(r":[\w:]+:(?=`)|[`*~]+", "", first))
            if len(text.split()) in WORDS and not NAMES.search(text):
                yield text
