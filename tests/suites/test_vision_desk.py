"""The vision-desk suite's generators: shapes, balance, determinism, disjoint splits."""

import hashlib
import itertools

import numpy as np
import pytest

from mergelib.suites.vision_desk import (
    clocks,
    colours,
    digits,
    dominoes,
    flags,
    fonts,
    mnist,
    packages,
    scripts,
    sheets,
)
from mergelib.suites.vision_desk.spec import SPEC
from mergelib.suites.vision_desk.splits import COUNTS
from mergelib.suites.vision_desk.suite import GENERATORS

SIZE = SPEC.size
SMALL = {"train": 120, "val": 40, "test": 60}
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def built():
    """All tasks, the rendered ones with few images."""
    with pytest.MonkeyPatch.context() as patch:
        for split, count in SMALL.items():
            patch.setitem(COUNTS, split, count)
            patch.setitem(mnist.SCANS, split, count)
        return {name: module.build(SIZE, 0) for name, module in GENERATORS.items()}


@pytest.fixture
def few(monkeypatch):
    for split in SPLITS:
        monkeypatch.setitem(COUNTS, split, 40)
        monkeypatch.setitem(mnist.SCANS, split, 40)


def digests(images):
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def test_eight_tasks_under_their_own_names():
    assert len(GENERATORS) == 8
    assert all(module.ABOUT.name == name for name, module in GENERATORS.items())
    assert COUNTS["train"] == 2000 and COUNTS["val"] == 500 and COUNTS["test"] == 1000


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
            assert len(labels) == SMALL[split]
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


@pytest.mark.parametrize("module", [digits, mnist])
def test_no_scan_serves_two_splits(module):
    parts = module.scans_by_split(0)
    kinds = [set(digests(scans)) for scans, _ in parts.values()]
    for one, other in itertools.combinations(kinds, 2):
        assert not one & other
    for split in ("val", "test"):
        assert len(kinds[SPLITS.index(split)]) == len(parts[split][1])


@pytest.mark.parametrize("module, scans", [(digits, 1797), (mnist, 5000)])
def test_all_scans_are_used(module, scans):
    kinds = [set(digests(images)) for images, _ in module.scans_by_split(0).values()]
    assert sum(map(len, kinds)) == scans


def test_ink_is_dark_where_the_scan_is_strong():
    strength = np.zeros((28, 28))
    strength[8:20, 8:20] = 1
    sheet = sheets.draw_sheet(strength, np.random.default_rng(0)).astype(float)
    luma = sheet[..., :3] @ [0.299, 0.587, 0.114]
    assert luma[5, 5] - luma[56, 56] >= sheets.CONTRAST
    assert (sheet[..., 3] == 255).all()


@pytest.mark.parametrize("pips", range(10))
def test_dominoes_have_the_pips_of_their_label(pips):
    from scipy.ndimage import label

    tile = dominoes.draw_tile(pips, np.random.default_rng(pips)).astype(int)
    inside = tile[..., 3] > 250
    face = tile[4, tile.shape[1] // 2, :3]
    marked = inside & (np.abs(tile[..., :3] - face).sum(-1) > 150)
    line = round(tile.shape[0] * (1 + dominoes.FOLD) / 2)
    assert label(marked[: line - 4])[1] == pips


@pytest.mark.parametrize("hour", range(12))
def test_the_short_hand_points_at_the_hour(hour):
    rng = np.random.default_rng(hour)
    drawn = []

    class Spy(clocks.Board):
        def line(self, points, width, colour):
            drawn.append((points, width))
            super().line(points, width, colour)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocks, "Board", Spy)
        clocks.draw_clock(hour, rng)
    (_, tip), _ = drawn[-2]
    (_, long), _ = drawn[-1]
    turn = np.arctan2(tip[0], -tip[1]) / (2 * np.pi) * 12
    assert abs((turn - hour + 6) % 12 - 6) <= clocks.SPREAD / 60 + 1e-9
    assert np.hypot(*tip) < 0.65 < np.hypot(*long)


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


@pytest.mark.parametrize("ranges", [((0, 256), (0, 256)), ((150, 256), (0, 150))])
def test_contrasting_pairs_can_be_told_apart(ranges):
    rng = np.random.default_rng(0)
    for _ in range(200):
        pair = np.array(colours.contrasting_pair(*ranges, 90.0, rng))
        assert abs((pair[0] - pair[1]) @ [0.299, 0.587, 0.114]) >= 90
        for colour, (low, high) in zip(pair, ranges, strict=True):
            assert low <= colour.min() and colour.max() < high


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
