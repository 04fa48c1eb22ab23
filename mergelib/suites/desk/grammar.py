"""Sentences from the templates of voice commands, as home-assistant-intents writes them.

    [the]  may be there · (a|b)  one of these · (a;b)  both, in either order
    <rule> what a named template says · {list}, {list:slot}  a value of a named list

Written out here, because only the package's data are installed (the grammar is Hassil's).
"""

import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mergelib.suites.texts import plain

TOKEN = re.compile(r"\[|\]|\(|\)|\||;|<[^>]*>|\{[^}]*\}|[^\[\]()|;<{]+")


class Unfillable(ValueError):
    """A template asks for a list that there are no words for, or for a rule that there is not."""


@dataclass(frozen=True)
class Grammar:
    """The named templates of a language, and the words that its lists can be filled with."""

    rules: Mapping[str, str]
    lists: Mapping[str, Sequence[str]]

    def sample(self, template: str, count: int, seed: int | str) -> list[str]:
        """At most `count` different sentences of a template, in random order; raises Unfillable."""
        rng, found = random.Random(f"{template}/{seed}"), {}
        for _ in range(4 * count):
            sentence = plain(self._say(template, rng))
            found.setdefault(sentence)
            if len(found) == count:
                break
        return list(found)

    def _say(self, template: str, rng: random.Random, depth: int = 0) -> str:
        if depth > 12:
            raise Unfillable(f"the rules of {template!r} go round in a circle")
        tokens = TOKEN.findall(template)
        said, end = self._choices(tokens, 0, rng, depth)
        if end < len(tokens):
            raise Unfillable(f"{template!r} has a bracket too many")
        return said

    def _choices(self, tokens: list[str], at: int, rng: random.Random, depth: int):
        """(what is said, where it ends) of alternatives up to a closing bracket."""
        parts, kind = [""], "|"
        while at < len(tokens) and tokens[at] not in "])":
            token, at = tokens[at], at + 1
            if token in "|;":
                parts.append("")
                kind = token
            elif token in "[(":
                inner, at = self._choices(tokens, at, rng, depth)
                if at >= len(tokens):
                    raise Unfillable("a bracket is not closed")
                at += 1
                parts[-1] += inner if token == "(" or rng.random() < 0.5 else ""
            elif token[0] == "<":
                name = token[1:-1]
                if name not in self.rules:
                    raise Unfillable(f"there is no rule {name!r}")
                parts[-1] += self._say(self.rules[name], rng, depth + 1)
            elif token[0] == "{":
                parts[-1] += self._value(token[1:-1].partition(":")[0], rng, depth)
            else:
                parts[-1] += token
        if kind == ";":
            rng.shuffle(parts)
            return " ".join(parts), at
        return rng.choice(parts), at

    def _value(self, name: str, rng: random.Random, depth: int) -> str:
        if not self.lists.get(name):
            raise Unfillable(f"there are no words for the list {name!r}")
        return self._say(rng.choice(self.lists[name]), rng, depth + 1)


def words_of(lists: Mapping[str, dict]) -> dict[str, list[str]]:
    """The values of the package's lists: of a range every number, of a free text none."""
    found = {}
    for name, entry in lists.items():
        if "values" in entry:
            found[name] = [v if isinstance(v, str) else v["in"] for v in entry["values"]]
        elif "range" in entry:
            span = entry["range"]
            numbers = range(int(span["from"]), int(span["to"]) + 1, int(span.get("step", 1)))
            found[name] = [str(n) for n in itertools.islice(numbers, 101)]
    return found
