"""Writing systems: in which script is this written?

Three letters in one of twelve scripts, painted over a photograph. Letters that two of these
scripts share in shape (A, Α, А) are left out.
"""

import numpy as np
from PIL import Image, ImageDraw

from mergelib.tasks.desk import backgrounds, fonts
from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.camera import Pose
from mergelib.tasks.desk.lighting import Light
from mergelib.tasks.desk.numbers import colour_pair
from mergelib.tasks.desk.scene import Shot, photograph
from mergelib.tasks.desk.sensor import Sensor
from mergelib.tasks.desk.splits import Splits, rendered_splits

CANVAS = 128
LETTERS = (3, 4)
SIGN = 0.6
SHOT = Shot(
    pose=Pose(scale=(0.85, 1.05), degrees=12, aspect=1.2, shear=0.2, tilt=0.15, shift=0.06),
    light=Light(exposure=(0.6, 1.3), cast=0.12, gradient=0.3, shadow=0.25, contrast=(0.6, 1.1)),
    sensor=Sensor(blur=(0.2, 0.6), motion=(0.0, 1.2), noise=(0.0, 0.04)),
)
SCRIPTS = {
    "Latin": "BDFGJKLNQRSUVWZabdefghkmnqrtz",
    "Greek": "ΓΔΘΛΞΠΣΦΨΩαβγδεζηθλμξπσφχψω",
    "Cyrillic": "БДЖЗИЙЛЦЧШЩЪЫЬЭЮЯбвджзийлцчшщъыэюя",
    "Armenian": "ԲԳԴԵԶԷԸԹԺԻԽԾԿՁՂՃՄՅՆՇՈՉՊՋՌՎՏՐՑՒՓՔաբգդեզէըթժիխծկձղճմյշչպջռվտրցփք",
    "Georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ",
    "Hebrew": "אבגדהזחטיכךלמםנןסעפףצץקרשת",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "N'Ko": "ߊߋߌߍߎߏߐߓߔߕߖߗߘߙߚߛߜߝߞߟߠߡߢߣߤߥߦ",
    "Tifinagh": "ⴱⴳⴷⴹⴼⴽⵀⵃⵄⵅⵇⵉⵊⵍⵎⵏⵓⵔⵕⵖⵙⵚⵛⵜⵟⵡⵢⵣⵥ",
    "Lao": "ກຂຄງຈຊຍດຕຖທນບປຜຝພຟມຢຣລວສຫອຮ",
    "Canadian syllabics": "ᐁᐃᐅᐊᐯᐱᐳᐸᑌᑎᑐᑕᑫᑭᑯᑲᒉᒋᒍᒐᒣᒥᒧᒪᓀᓂᓄᓇᓓᓕᓗᓚᓭᓯᓱᓴᔦᔨᔪᔭ",
    "Ogham": "ᚁᚂᚃᚄᚅᚆᚇᚈᚉᚊᚋᚌᚍᚎᚏᚐᚑᚒᚓᚔ",
}
ABOUT = About(
    name="scripts",
    title="Scripts",
    classes=tuple(SCRIPTS),
    origin="rendered over photographs",
    note=f"Three or four letters of one of twelve writing systems, painted and photographed by a "
    f"simulated camera; {fonts.NOTE}; {backgrounds.NOTE}.",
    templates=("a photo of a word in {} script.",),
)


def draw_word(letters: str, names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Random letters on one line, scaled to fit: (CANVAS, CANVAS, 4) uint8."""
    chosen = [
        letters[i] for i in rng.integers(len(letters), size=rng.integers(*LETTERS, endpoint=True))
    ]
    ink, paint = colour_pair(rng)
    name = names[rng.integers(len(names))]
    gap = rng.uniform(1, 5)
    face = fonts.font(name, 64)
    width = sum(face.getlength(c) for c in chosen) + gap * (len(chosen) - 1)
    face = fonts.font(name, int(min(64, 64 * (CANVAS - 14) / width)))
    width = sum(face.getlength(c) for c in chosen) + gap * (len(chosen) - 1)
    on_sign = rng.random() < SIGN
    image = Image.new("RGBA", (CANVAS, CANVAS), (*(paint if on_sign else ink), 0))
    draw = ImageDraw.Draw(image)
    middle, x = CANVAS / 2, (CANVAS - width) / 2
    if on_sign:
        high = face.size * rng.uniform(0.65, 0.9)
        box = (x - 8, middle - high, CANVAS - x + 8, middle + high)
        draw.rounded_rectangle(box, rng.uniform(0, 12), fill=paint)
    baseline = middle + 0.3 * face.size
    for character in chosen:
        draw.text((x, baseline), character, ink, face, "ls")
        x += face.getlength(character) + gap
    return np.asarray(image)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of words in the given scripts."""
    alphabets = list(SCRIPTS.values())
    names = [fonts.fonts_with(letters) for letters in alphabets]
    objects = np.stack([draw_word(alphabets[k], names[k], rng) for k in labels])
    behind = backgrounds.random_backgrounds(len(labels), size, rng)
    return photograph(objects, behind, SHOT, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("scripts", len(SCRIPTS), render, size, seed)
