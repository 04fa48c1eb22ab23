"""Letters of ten scripts, one of each: which letter is this?

One dark letter on a light translucent sheet over a photograph.
"""

import numpy as np
from PIL import Image, ImageDraw

from mergelib.suites.vision_desk import backgrounds, fonts
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.camera import Pose
from mergelib.suites.vision_desk.lighting import Light
from mergelib.suites.vision_desk.scene import Shot, before_photographs
from mergelib.suites.vision_desk.sensor import Sensor
from mergelib.suites.vision_desk.splits import Splits, rendered_splits

CANVAS = 128
HEIGHT = (44, 70)
SHEET = (0.5, 1.0)
SHOT = Shot(
    pose=Pose(scale=(1.1, 1.35), degrees=10, aspect=1.15, shear=0.12, tilt=0.1, shift=0.1),
    light=Light(exposure=(0.65, 1.15), cast=0.15, gradient=0.3, shadow=0.3, contrast=(0.6, 1.1)),
    sensor=Sensor(blur=(0.2, 0.6), motion=(0.0, 1.5), noise=(0.0, 0.05)),
)
LETTERS = {
    "Latin R": "R",
    "Greek xi": "ξ",
    "Cyrillic zhe": "Ж",
    "Armenian feh": "Ֆ",
    "Georgian ghan": "ღ",
    "Hebrew alef": "א",
    "Arabic ain": "ع",
    "N'Ko da": "ߘ",
    "Tifinagh yaz": "ⵣ",
    "Lao ho": "ຮ",
}
ABOUT = About(
    name="scripts",
    title="Letters of ten scripts",
    classes=tuple(LETTERS),
    origin="rendered over photographs",
    note="Letters printed on translucent sheets and photographed by a simulated camera; "
    f"{fonts.NOTE}; {backgrounds.NOTE}.",
    templates=("a photo of the letter {}.",),
)


def draw_letter(letter: str, names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """A letter in the middle of a sheet: (CANVAS, CANVAS, 4) uint8."""
    dark, light = rng.integers(0, 100, 3), rng.integers(160, 256, 3)
    image = Image.new("RGBA", (CANVAS, CANVAS), (*light.tolist(), int(255 * rng.uniform(*SHEET))))
    name = names[rng.integers(len(names))]
    left, top, right, bottom = fonts.font(name, 64).getbbox(letter, anchor="ls")
    face = fonts.font(name, round(64 * rng.uniform(*HEIGHT) / max(bottom - top, right - left)))
    left, top, right, bottom = face.getbbox(letter, anchor="ls")
    corner = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    ImageDraw.Draw(image).text(corner, letter, (*dark.tolist(), 255), face, "ls")
    return np.asarray(image)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of the given letters."""
    letters = list(LETTERS.values())
    names = [fonts.fonts_with(letter) for letter in letters]
    objects = np.stack([draw_letter(letters[k], names[k], rng) for k in labels])
    return before_photographs(objects, SHOT, size, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("scripts", len(LETTERS), render, size, seed)
