"""House numbers: which digit stands in the middle?

A row of digits on a plate or straight on the wall, photographed at an angle; the digits to the
left and right of the centre are the distractors.
"""

import numpy as np
from PIL import Image, ImageDraw

from mergelib.suites.vision_desk import backgrounds, fonts
from mergelib.suites.vision_desk.about import About
from mergelib.suites.vision_desk.camera import Pose
from mergelib.suites.vision_desk.colours import DARK, contrasting_pair
from mergelib.suites.vision_desk.lighting import Light
from mergelib.suites.vision_desk.scene import Shot, before_photographs
from mergelib.suites.vision_desk.sensor import Sensor
from mergelib.suites.vision_desk.splits import Splits, rendered_splits

CANVAS = 128
FONT_SIZE = (66, 84)
NEIGHBOUR = 0.15
PLATE = 0.9
FONTS = (
    "DejaVu Sans",
    "DejaVu Sans Bold",
    "DejaVu Serif Bold",
    "STIX Bold",
    "Roboto",
    "Roboto Black",
    "Source Sans",
    "Source Serif Bold",
    "Caladea Bold",
    "Manrope Extra Bold",
    "Fredoka One",
    "Hanken Grotesk Bold",
)
CONTRAST = 110.0
SHOT = Shot(
    pose=Pose(scale=(0.95, 1.1), degrees=4, aspect=1.08, shear=0.06, tilt=0.06, shift=0.03),
    light=Light(exposure=(0.7, 1.2), cast=0.1, gradient=0.25, shadow=0.25, contrast=(0.7, 1.1)),
    sensor=Sensor(blur=(0.2, 0.5), motion=(0.0, 0.8), noise=(0.0, 0.03)),
)
DIGITS = "0123456789"
ABOUT = About(
    name="numbers",
    title="House numbers",
    classes=tuple(DIGITS),
    origin="rendered over photographs",
    note=f"House numbers drawn in many fonts and photographed by a simulated camera; {fonts.NOTE}; "
    f"{backgrounds.NOTE}.",
    templates=('a photo of the number: "{}".',),
)


def draw_plate(draw: ImageDraw.ImageDraw, half: float, colour, rim, rng) -> None:
    """A plate around the middle of the canvas: rectangular, rounded or oval, maybe rimmed."""
    middle = CANVAS / 2
    high = rng.uniform(0.3, 0.4) * CANVAS
    box = (middle - half, middle - high, middle + half, middle + high)
    width = int(rng.integers(0, 4)) if rng.random() < 0.6 else 0
    kind = rng.integers(3)
    if kind == 0:
        draw.rectangle(box, fill=colour, outline=rim, width=width)
    elif kind == 1:
        draw.rounded_rectangle(box, rng.uniform(6, 24), fill=colour, outline=rim, width=width)
    else:
        grown = (box[0] - 12, box[1] - 8, box[2] + 12, box[3] + 8)
        draw.ellipse(grown, fill=colour, outline=rim, width=width)


def draw_number(label: int, names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """One house number with digit `label` in the middle: (CANVAS, CANVAS, 4) uint8."""
    ink, paint = contrasting_pair((150, 256), DARK, CONTRAST, rng)
    face = fonts.font(names[rng.integers(len(names))], int(rng.integers(*FONT_SIZE)))
    present = rng.random(2) < NEIGHBOUR
    text = [
        str(d) if there else "" for d, there in zip(rng.integers(0, 10, 2), present, strict=True)
    ]
    width = face.getlength(DIGITS[label])
    gap = rng.uniform(0.0, 0.12) * width
    half = width / 2 + 8 + (width + gap if present.any() else rng.uniform(0, 30))
    plated = rng.random() < PLATE
    image = Image.new("RGBA", (CANVAS, CANVAS), (*(paint if plated else ink), 0))
    draw = ImageDraw.Draw(image)
    if plated:
        draw_plate(draw, half, paint, ink, rng)
    middle = CANVAS / 2
    baseline = middle + 0.36 * face.size
    places = [
        (middle - width / 2 - gap, text[0], "rs"),
        (middle, DIGITS[label], "ms"),
        (middle + width / 2 + gap, text[1], "ls"),
    ]
    edge = 0 if plated else 3
    for x, characters, anchor in places:
        draw.text(
            (x, baseline), characters, ink, face, anchor, stroke_width=edge, stroke_fill=paint
        )
    return np.asarray(image)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of house numbers with the given middle digits."""
    objects = np.stack([draw_number(int(label), FONTS, rng) for label in labels])
    return before_photographs(objects, SHOT, size, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("numbers", len(DIGITS), render, size, seed)
