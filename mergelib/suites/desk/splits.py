"""How texts are divided: whole groups (templates, files, films) go into one split."""

import random
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mergelib.suites.suite import SPLITS
from mergelib.suites.texts import Texts, seen_as, shuffled, spread, without_repetitions

COUNTS = {"train": 2400, "val": 500, "test": 1000}  # at most


@dataclass(frozen=True)
class Row:
    """A text, its label, and the group that it must not be parted from."""

    text: str
    label: int
    group: str


def divided(
    rows: Iterable[Row],
    seed: int,
    places: Mapping[str, str] | None = None,
    train: int = COUNTS["train"],
) -> Texts:
    """The three splits of some rows, each group in one of them.

    Groups are dealt out by class, so that every split has its share of every class's rows (the
    shares of COUNTS); `places` (group → split) says instead where each is. A text with two labels
    is left out, repeated ones are kept once, and of what remains as many of each class are taken
    as there are, up to COUNTS, and to `train` in that split.
    """
    rows = unambiguous(rows)
    places = dealt_out(rows, seed) if places is None else places
    parts = {split: [] for split in SPLITS}
    for row in rows:
        parts[places[row.group]].append((row.text, row.label))
    mixed = {split: shuffled(pairs, f"{split}/{seed}") for split, pairs in parts.items()}
    test = without_repetitions(mixed["test"])
    val = without_repetitions(mixed["val"], test)
    rest = without_repetitions(mixed["train"], [*test, *val])
    found = {"train": rest, "val": val, "test": test}
    counts = {**COUNTS, "train": train}
    return Texts(**{split: spread(pairs, counts[split])[0] for split, pairs in found.items()})


def unambiguous(rows: Iterable[Row]) -> list[Row]:
    """The rows whose text has one label only."""
    rows, labels = list(rows), {}
    for row in rows:
        labels.setdefault(seen_as(row.text), set()).add(row.label)
    return [row for row in rows if len(labels[seen_as(row.text)]) == 1]


def dealt_out(rows: Iterable[Row], seed: int) -> dict[str, str]:
    """group → split: each group of a class goes where the class's rows are missing most.

    A group is counted to the class of its first row.
    """
    sizes, classes = {}, {}
    for row in rows:
        sizes[row.group] = sizes.get(row.group, 0) + 1
        classes.setdefault(row.group, row.label)
    shares = {split: COUNTS[split] / sum(COUNTS.values()) for split in SPLITS}
    places = {}
    for label in sorted(set(classes.values())):
        groups = sorted(group for group, c in classes.items() if c == label)
        random.Random(f"{label}/{seed}").shuffle(groups)
        total = sum(sizes[group] for group in groups)
        missing = {split: share * total for split, share in shares.items()}
        # The large ones first: what they leave uneven the small ones make even.
        for group in sorted(groups, key=lambda g: -sizes[g]):
            split = max(SPLITS, key=missing.__getitem__)
            places[group] = split
            missing[split] -= sizes[group]
    return places


def by_name(groups: Iterable[str], seed: int) -> dict[str, str]:
    """group → split by the group's name alone, so that two tasks put one group into one split."""
    total, places = sum(COUNTS.values()), {}
    for group in groups:
        drawn = zlib.crc32(f"{seed}/{group}".encode()) % total
        train, val = COUNTS["train"], COUNTS["val"]
        places[group] = "train" if drawn < train else "val" if drawn < train + val else "test"
    return places
