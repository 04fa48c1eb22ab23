"""One set of versions: pyproject.toml, constraints.txt, environment.yml and Makefile agree."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mergelib.cache.storage import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins), "every line is name==version"
    return {canonicalize_name(name): version for name, version in pins}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(r) for r in [*PROJECT["dependencies"], *(r for e in extras for r in e)]]


def test_every_dependency_is_pinned_and_the_pin_allowed():
    pins = constraints()
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(pins[name]), requirement


def test_no_pin_is_of_one_machine_only():
    assert not [f"{n}=={v}" for n, v in constraints().items() if "+" in v or "@" in v]


def test_conda_users_get_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(d["pip"] for d in environment["dependencies"] if isinstance(d, dict))
    assert "-c constraints.txt" in pip
    for line in pip:
        if "==" in line:
            name, version = line.split("==")
            assert constraints()[canonicalize_name(name)] == version
    python = next(d for d in environment["dependencies"] if str(d).startswith("python="))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(
        python.removeprefix("python=")
    )


def test_conda_and_make_install_the_same_extras():
    installs = [
        sorted(re.search(r"-e \"?\.\[([a-z,]+)\]", (ROOT / file).read_text())[1].split(","))
        for file in ("environment.yml", "Makefile")
    ]
    assert installs == [sorted(PROJECT["optional-dependencies"])] * 2
