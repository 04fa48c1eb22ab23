"""Labelled texts on their way to a suite: cleaned, without repetitions, cut into splits by seed."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from mergelib.models.inputs import Tokens
from mergelib.suites.suite import SPLITS, Split

Pair = tuple[str, int]
"""A text and its label."""

Thing = TypeVar("Thing")
Tokenise = Callable[[Sequence[str]], Tokens]


@dataclass(frozen=True)
class Texts:
    """The labelled texts of a task's three splits."""

    train: Sequence[Pair]
    val: Sequence[Pair]
    test: Sequence[Pair]

    def splits(self, tokenise: Tokenise) -> dict[str, Split]:
        """The splits as a Task has them, by name."""
        found = {}
        for name in SPLITS:
            texts, labels = zip(*getattr(self, name), strict=True)
            found[name] = Split(tokenise(texts), torch.tensor(labels, dtype=torch.int64))
        return found


def plain(text: str) -> str:
    """A text with single spaces between its words and none around them."""
    return " ".join(text.split())


def seen_as(text: str) -> str:
    """What two texts have in common that a reader would call the same: letters, in one case."""
    return "".join(c for c in text.casefold() if c.isalnum())


def without_repetitions(pairs: Iterable[Pair], but: Iterable[Pair] = ()) -> list[Pair]:
    """The first of every text, in order, without those that `but` has; empty ones are left out."""
    seen, kept = {seen_as(text) for text, _ in but} | {""}, []
    for text, label in pairs:
        if (key := seen_as(text)) not in seen:
            seen.add(key)
            kept.append((text, label))
    return kept


def shuffled(things: Iterable[Thing], seed: int | str) -> list[Thing]:
    """The things in an order of their own for each seed."""
    order = list(things)
    random.Random(seed).shuffle(order)
    return order


def spread(pairs: Iterable[Pair], count: int) -> tuple[list[Pair], list[Pair]]:
    """(chosen, others): at most `count`, from every class as many as from the others if there are
    as many, the first of each; both parts in the order of `pairs`."""
    by_class: dict[int, list[int]] = {}
    rows = list(pairs)
    for i, (_, label) in enumerate(rows):
        by_class.setdefault(label, []).append(i)
    chosen: set[int] = set()
    depth = 0
    while len(chosen) < min(count, len(rows)):
        for label in sorted(by_class):
            if depth < len(by_class[label]) and len(chosen) < count:
                chosen.add(by_class[label][depth])
        depth += 1
    return (
        [row for i, row in enumerate(rows) if i in chosen],
        [row for i, row in enumerate(rows) if i not in chosen],
    )
