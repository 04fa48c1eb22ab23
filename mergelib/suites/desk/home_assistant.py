"""What people say to their house in many languages: what commands and languages share."""

import json
from collections.abc import Iterator

from mergelib.suites.desk.grammar import Grammar, Unfillable, words_of
from mergelib.suites.desk.packages import read

FILE = "home_assistant_intents/data/{}.json"
SOURCE = {
    "origin": "Home Assistant",
    "authors": "the contributors of Home Assistant",
    "packages": ("home-assistant-intents",),
    "licence": "Apache-2.0",
}


def load(language: str, free: dict[str, tuple[str, ...]] | None = None):
    """(grammar, intent → its templates) of a language; `free` fills lists that have no words."""
    path = read("home-assistant-intents", FILE.format(language))
    data = json.loads(path.read_text(encoding="utf-8"))
    grammar = Grammar(data["expansion_rules"], {**words_of(data["lists"]), **(free or {})})
    templates = {
        intent: sorted({s for block in entry["data"] for s in block["sentences"]})
        for intent, entry in data["intents"].items()
    }
    return grammar, templates


def sampled(grammar: Grammar, templates, count: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """(template, sentences) of the templates that can be filled."""
    for template in templates:
        try:
            yield template, grammar.sample(template, count, seed)
        except Unfillable:
            continue
