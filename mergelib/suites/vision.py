"""The `vision` suite: eight real benchmarks, small, from parquet under `$MERGELIB_DATA`.

Titles, class names and templates are the field's (Radford et al. 2021; methods that merge CLIP
use the same); the validation split is cut from train by seed, as the files carry none.
"""

from dataclasses import dataclass

import torch

from mergelib.cache import storage
from mergelib.models.tower import shipped
from mergelib.suites.parquet import class_names, data_folder, decode, load_rows
from mergelib.suites.recipe import FineTuning
from mergelib.suites.spec import Spec
from mergelib.suites.suite import Split, Suite, Task

SIZE = 48
# Real images, of which there are few, want more augmentation than drawn ones and are farther from
# what the base knows: with the decay of vision-desk the expert of gtsrb stays ten points lower.
SPEC = Spec(
    name="vision",
    title="eight real benchmarks, small",
    tasks=("mnist", "gtsrb", "dtd", "sun", "cars", "aid", "rsscn7", "chars74k"),
    module=__name__,
    base=shipped("merge-vit-48-8"),
    recipe=FineTuning(epochs=6, l2sp=1.0, crop=0.7, degrees=8.0, colour=0.3),
    size=SIZE,
)
VAL_SHARE, VAL_SEED = 0.2, 0
AERIAL = tuple(
    f"{kind} {view} of {article}{{}}."
    for kind in ("satellite", "aerial")
    for view in ("imagery", "photo", "view")
    for article in ("", "a ", "the ")
)


@dataclass(frozen=True)
class Source:
    """Where one task's rows lie (`images/<folder>`) and how the field captions them."""

    folder: str
    title: str
    templates: tuple[str, ...]
    origin: str
    note: str


SOURCES = {
    "mnist": Source(
        "mnist",
        "MNIST",
        ('a photo of the number: "{}".',),
        "scanned",
        "Handwritten digits: a subset of MNIST (LeCun et al. 1998), CC BY-SA 3.0.",
    ),
    "gtsrb": Source(
        "gtsrb",
        "GTSRB",
        tuple(
            f'a {view} photo of a "{{}}" traffic sign.'
            for view in ("zoomed in", "centered", "close up")
        ),
        "photographed",
        "Traffic signs: a subset of the training images of the German Traffic Sign Recognition "
        "Benchmark (Stallkamp et al. 2012), train and test without a common sign.",
    ),
    "dtd": Source(
        "dtd10",
        "DTD-10",
        tuple(
            f"a photo of {article} {{}} {thing}."
            for article in ("a", "the")
            for thing in ("texture", "pattern", "thing", "object")
        ),
        "photographed",
        "Textures: the first 10 of the 47 classes of Describable Textures (Cimpoi et al. 2014).",
    ),
    "sun": Source(
        "sun14",
        "SUN-14",
        ("a photo of a {}.", "a photo of the {}."),
        "photographed",
        "Scenes: 14 classes of SUN (Xiao et al. 2010).",
    ),
    "cars": Source(
        "cars_body",
        "Cars (body type)",
        ("a photo of a {}.", "a photo of the {}.", "a photo of my {}.", "i love my {}!")
        + tuple(f"a photo of my {state} {{}}." for state in ("dirty", "clean", "new", "old")),
        "photographed",
        "Cars: training images of Stanford Cars (Krause et al. 2013) grouped into nine body types.",
    ),
    "aid": Source(
        "aid30",
        "AID",
        AERIAL,
        "photographed",
        "Aerial scenes: AID (Xia et al. 2017), 30 classes.",
    ),
    "rsscn7": Source(
        "rsscn7",
        "RSSCN7",
        AERIAL,
        "photographed",
        "Remote-sensing scenes: RSSCN7 (Zou et al. 2015), 7 classes.",
    ),
    "chars74k": Source(
        "chars74k",
        "Chars74K",
        ('a photo of the digit character: "{}".',),
        "photographed",
        "Street-view characters: Chars74K (de Campos et al. 2009), 62 classes.",
    ),
}


def key() -> str:
    folder = data_folder() / "images"
    sources = {
        name: storage.key_of_files(sorted((folder / source.folder).glob("*.parquet")))
        for name, source in SOURCES.items()
    }
    return storage.key_of(code=storage.key_of_files([__file__]), **sources)


def build() -> Suite:
    """Raises FileNotFoundError naming the first parquet file that is missing."""
    folder = data_folder() / "images"
    return Suite(SPEC.name, SIZE, {name: _task(name, folder) for name in SOURCES})


def _task(name: str, folder) -> Task:
    source = SOURCES[name]
    rows = load_rows(folder / source.folder, "train")
    train, val = split_by_seed(Split(*decode(rows, SIZE)), VAL_SHARE, VAL_SEED)
    names = class_names(rows)
    if names is None:
        raise ValueError(f"{folder / source.folder}: the column `label` carries no class names")
    return Task(
        name=name,
        title=source.title,
        classes=tuple(names),
        templates=source.templates,
        origin=source.origin,
        note=source.note,
        train=train,
        val=val,
        test=Split(*decode(load_rows(folder / source.folder, "test"), SIZE)),
    )


def split_by_seed(rows: Split, share: float, seed: int) -> tuple[Split, Split]:
    """(train, val): `share` of each class, at least one row, goes to val, drawn by seed."""
    generator = torch.Generator().manual_seed(seed)
    held = []
    for c in rows.labels.unique(sorted=True):
        mine = (rows.labels == c).nonzero()[:, 0]
        mine = mine[torch.randperm(len(mine), generator=generator)]
        held.append(mine[: max(1, round(share * len(mine)))])
    val = torch.cat(held)
    val = val[torch.randperm(len(val), generator=generator)]
    keep = torch.ones(len(rows), dtype=torch.bool)
    keep[val] = False
    return (
        Split(rows.inputs[keep], rows.labels[keep]),
        Split(rows.inputs[val], rows.labels[val]),
    )
