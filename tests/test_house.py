"""What the shape of the code promises: one place for each format, few parameters."""

import inspect
import pkgutil
import re
from importlib import import_module

import pytest

from mergelib import adaptation, mixtures
from mergelib.cache.storage import ROOT

PACKAGE = ROOT / "mergelib"
# How images are kept and scaled is known where they are made ready, and where suites make them.
PIXELS = re.compile(r"0\.48145466|[^\w]/ ?255|\(N, 3, H, W\), not|shape\[1\] != 3")
MAY_KNOW = re.compile(r"models/inputs\.py|suites/")
MOST = 8


def public_functions(package):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        found = import_module(module.name)
        for name, function in inspect.getmembers(found, inspect.isfunction):
            if function.__module__ == module.name and not name.startswith("_"):
                yield f"{module.name}.{name}", function


@pytest.mark.parametrize("package", [adaptation, mixtures], ids=lambda p: p.__name__)
def test_no_public_function_has_more_than_eight_parameters(package):
    counts = {
        name: len(inspect.signature(function).parameters)
        for name, function in public_functions(package)
    }
    assert len(counts) > 15
    assert {name: n for name, n in counts.items() if n > MOST} == {}


def test_only_inputs_and_suites_know_how_pixels_are_kept():
    code = {
        str(path.relative_to(PACKAGE)): [
            line for line in path.read_text(encoding="utf-8").splitlines() if PIXELS.search(line)
        ]
        for path in PACKAGE.rglob("*.py")
    }
    known = {name for name, lines in code.items() if lines}
    assert "models/inputs.py" in known
    strangers = {name: code[name] for name in known if not MAY_KNOW.search(name)}
    strangers.pop("mixtures/sparse_file.py", None)  # a byte of 255 there
    assert strangers == {}
