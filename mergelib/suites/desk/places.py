"""Places: the name of a country's part → the country."""

import json
from collections.abc import Iterator

from mergelib.suites.desk.about import About
from mergelib.suites.desk.packages import read
from mergelib.suites.desk.splits import Row, divided
from mergelib.suites.texts import Texts, plain, seen_as

FILE = "pycountry/databases/iso3166-2.json"
COUNTRIES = {
    "AZ": "Azerbaijan",
    "FR": "France",
    "GB": "the United Kingdom",
    "IS": "Iceland",
    "IT": "Italy",
    "LT": "Lithuania",
    "RU": "Russia",
    "SI": "Slovenia",
    "UG": "Uganda",
    "VN": "Vietnam",
}

ABOUT = About(
    name="places",
    title="Places",
    classes=tuple(COUNTRIES.values()),
    templates=("a region, a province or a town in {}.",),
    note="Name of a subdivision in ISO 3166-2 → country, for ten countries that have many.",
    origin="ISO 3166-2",
    authors="ISO 3166-2 as the Debian project keeps it (iso-codes)",
    packages=("pycountry",),
    licence="LGPL-2.1-only",
)


def build(seed: int) -> Texts:
    return divided(rows(), seed)


def rows() -> Iterator[Row]:
    """Names of subdivisions; a group is a name."""
    countries = list(COUNTRIES)
    parts = json.loads(read("pycountry", FILE).read_text(encoding="utf-8"))["3166-2"]
    for part in parts:
        # A name in a second language stands in brackets, with a code that gives the country away.
        country, name = part["code"][:2], plain(part["name"].partition("[")[0])
        if country in COUNTRIES:
            yield Row(name, countries.index(country), seen_as(name))
