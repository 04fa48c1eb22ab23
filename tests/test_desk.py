"""The desk suite's generators: shapes, balance, determinism, disjoint splits."""

import hashlib
import itertools

import numpy as np
import pytest
from PIL import Image

from mergelib.tasks.desk import GENERATORS, SIZE, flags, fonts, numbers, packages, patches, scripts
from mergelib.tasks.desk.splits import COUNTS

SMALL = {"train": 120, "val": 40, "test": 60}
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def built():
    """All tasks, the rendered ones with few images."""
    with pytest.MonkeyPatch.context() as patch:
        for split, count in SMALL.items():
            patch.setitem(COUNTS, split, count)
        return {name: module.build(SIZE, 0) for name, module in GENERATORS.items()}


@pytest.fixture
def few(monkeypatch):
    for split in SPLITS:
        monkeypatch.setitem(COUNTS, split, 40)


def digests(images):
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def test_eight_tasks_under_their_own_names():
    assert len(GENERATORS) == 8
    assert all(module.ABOUT.name == name for name, module in GENERATORS.items())
    assert COUNTS["train"] == 2400 and COUNTS["val"] == 500 and COUNTS["test"] == 1000


@pytest.mark.parametrize("name", GENERATORS)
def test_about(name):
    about = GENERATORS[name].ABOUT
    assert len(about.classes) >= 10 and len(set(about.classes)) == len(about.classes)
    assert about.templates and all(t.count("{}") == 1 for t in about.templates)
    assert about.title and about.note.endswith(".")


@pytest.mark.parametrize("name", GENERATORS)
def test_shapes_and_classes(built, name):
    n_classes = len(GENERATORS[name].ABOUT.classes)
    assert tuple(built[name]) == SPLITS
    for split, (images, labels) in built[name].items():
        assert images.dtype == np.uint8 and images.shape == (len(labels), SIZE, SIZE, 3)
        assert labels.dtype == np.int64
        counts = np.bincount(labels, minlength=n_classes)
        assert len(counts) == n_classes and counts.min() >= 1
        if name == "digits":
            assert counts.max() < 2 * counts.min()
        else:
            assert len(labels) == SMALL[split] and counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", GENERATORS)
def test_no_image_in_two_splits(built, name):
    seen = [set(digests(built[name][split][0])) for split in SPLITS]
    for one, other in itertools.combinations(seen, 2):
        assert not one & other


@pytest.mark.parametrize("name", GENERATORS)
def test_images_show_something(built, name):
    images = built[name]["train"][0].astype(float)
    spread = images.reshape(len(images), -1).std(axis=1)
    assert np.mean(spread > 4) > 0.95
    assert 20 < images.mean() < 235


@pytest.mark.parametrize("name", GENERATORS)
def test_the_seed_fixes_every_pixel(few, name):
    first, again, other = (GENERATORS[name].build(SIZE, seed) for seed in (1, 1, 2))
    for split in SPLITS:
        np.testing.assert_array_equal(first[split][0], again[split][0])
        np.testing.assert_array_equal(first[split][1], again[split][1])
    assert not np.array_equal(first["train"][0], other["train"][0])


def test_every_digit_scan_is_used_once(built):
    assert sum(len(labels) for _, labels in built["digits"].values()) == 1797


def test_blocks_of_two_splits_never_overlap():
    for surface in patches.SURFACES:
        width, height = patches.load(surface).size
        owner = np.zeros((height, width), dtype=int)
        parts = patches.blocks(width, height, surface.block, 0, surface.name)
        for k, split in enumerate(SPLITS, start=1):
            assert len(parts[split]) > 0
            for left, top in parts[split]:
                region = owner[top : top + surface.block, left : left + surface.block]
                assert region.shape == (surface.block, surface.block) and not region.any()
                region[...] = k


@pytest.mark.parametrize("split", SPLITS)
def test_patches_see_nothing_but_their_own_blocks(split):
    surface = patches.SURFACES[0]
    parts = patches.blocks(512, 512, surface.block, 0, surface.name)
    photo = np.full((512, 512), 255, dtype=np.uint8)
    for left, top in parts[split]:
        photo[top : top + surface.block, left : left + surface.block] = 0
    rng = np.random.default_rng(0)
    cut = patches.cut(Image.fromarray(photo), parts[split], surface.block, 30, SIZE, rng)
    assert cut.max() == 0


def test_letters_differ_and_every_font_used_draws_them():
    assert len(set(scripts.LETTERS.values())) == len(scripts.LETTERS)
    for letter in scripts.LETTERS.values():
        names = fonts.fonts_with(letter)
        assert len(names) >= 2
        for name in names:
            face = fonts.font(name, 32)
            missing = face.getmask("\U0010fffe")
            drawn = face.getmask(letter)
            assert drawn.getbbox() is not None
            assert drawn.size != missing.size or bytes(drawn) != bytes(missing)


def test_house_numbers_stand_out_from_their_plates():
    rng = np.random.default_rng(0)
    for _ in range(200):
        ink, plate = np.array(numbers.colour_pair(rng))
        assert (ink - plate) @ [0.299, 0.587, 0.114] >= numbers.CONTRAST


def test_flags_are_right_way_round():
    pictures = dict(zip(flags.FLAGS, flags.painted()[..., :3].astype(int), strict=True))
    left, middle, right = (pictures["France"][40, x] for x in (10, 60, 110))
    assert left[2] > 100 > left[0] and middle.min() > 200 and right[0] > 200 > right[2]
    top, bottom = pictures["Ukraine"][10, 60], pictures["Ukraine"][70, 60]
    assert top[2] > top[0] and bottom[0] > bottom[2]
    assert pictures["Japan"][40, 60, 1] < 50 and pictures["Japan"][5, 5].min() > 200


def test_missing_package_and_missing_file_are_named():
    with pytest.raises(FileNotFoundError, match="no_such_package"):
        packages.package_file("no_such_package", "a.png")
    with pytest.raises(FileNotFoundError, match="scikit-image does not ship data/none.png"):
        packages.package_file("skimage", "data/none.png")
    with pytest.raises(KeyError, match="Comic"):
        fonts.font_path("Comic")
