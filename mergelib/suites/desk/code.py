"""Code: three lines of a source file → the language that it is written in."""

from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.packages import files, read
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts, plain, shuffled

LINES, PER_FILE, FILES = 3, 24, 120  # of a text; texts of a file, files of a package, at most
TRAIN = 1200  # enough for an expert
LETTERS, LONGEST = 12, 160  # letters at least of a text, characters at most of a line
# What a class is called → the endings of its files and the packages that they are from.
KINDS = {
    "the programming language Python": (
        (".py",),
        ("networkx", "pandas", "sphinx", "seaborn", "docutils"),
    ),
    "the programming language JavaScript": (
        (".js",),
        ("sphinx", "snakemake", "scattertext", "pydata-sphinx-theme", "matplotlib"),
    ),
    "CSS style sheets": (
        (".css",),
        ("docutils", "matplotlib", "scikit-learn", "jupyter_server", "alabaster", "sphinx"),
    ),
    "HTML pages": (
        (".html",),
        ("pydata-sphinx-theme", "sphinx", "scattertext", "alabaster", "jupyter_server"),
    ),
    "the programming language C++": ((".h", ".hpp", ".cpp"), ("torch", "pyarrow", "greenlet")),
    "JSON data": (
        (".json",),
        ("open_clip_torch", "jupyterlab", "jupyterlab_server", "sphinx-book-theme"),
    ),
    "YAML settings": (
        (".yaml", ".yml"),
        (
            "torch",
            "jupyter_server",
            "jupyterlab_server",
            "jupyter_events",
            "mdit-py-plugins",
            "markdown-it-py",
            "datasets",
        ),
    ),
    "reStructuredText documentation": ((".rst",), ("scikit-learn", "sphinx")),
}

ABOUT = About(
    name="code",
    title="Code",
    classes=tuple(KINDS),
    templates=("{}.",),
    note="Three lines of a file of an installed package → language; the lines of a file are in one "
    "split.",
    origin="source files",
    authors="the packages' authors",
    packages=tuple(dict.fromkeys(p for _, several in KINDS.values() for p in several)),
    licence="that of each package: Apache-2.0, BSD, MIT, or similar",
)


def build(seed: int) -> Texts:
    return divided(rows(seed), seed, train=TRAIN)


def rows(seed: int) -> Iterator[Row]:
    """Pieces of files; a group is a file."""
    for label, (endings, packages) in enumerate(KINDS.values()):
        for package in packages:
            paths = sorted({path for ending in endings for path in files(package, ending)})
            for path in shuffled(paths, f"{package}/{seed}")[:FILES]:
                source = read(package, path).read_text(encoding="utf-8", errors="replace")
                for text in shuffled(pieces(source), f"{path}/{seed}")[:PER_FILE]:
                    yield Row(text, label, f"{package}/{path}")


def pieces(source: str) -> list[str]:
    """The source's pieces of three lines one after the other, blank lines left out, each as one
    line of text; those with a very long line or few letters are left out."""
    lines = [line for line in source.splitlines() if line.strip()]
    found = []
    for start in range(0, len(lines) - LINES + 1, LINES):
        part = lines[start : start + LINES]
        letters = sum(c.isalpha() for line in part for c in line)
        if letters >= LETTERS and max(map(len, part)) <= LONGEST:
            found.append(plain(" ".join(part)))
    return found
