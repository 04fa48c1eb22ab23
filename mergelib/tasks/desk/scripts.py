"""Writing systems: in which script is this written?

A few lines of random letters of one script, printed on a translucent sheet over a photograph.
Letters that two of these scripts share in shape (A, Α, А) are left out.
"""

import numpy as np
from PIL import Image, ImageDraw

from mergelib.tasks.desk import backgrounds, fonts
from mergelib.tasks.desk.about import About
from mergelib.tasks.desk.camera import Pose
from mergelib.tasks.desk.lighting import Light
from mergelib.tasks.desk.scene import Shot, photograph
from mergelib.tasks.desk.sensor import Sensor
from mergelib.tasks.desk.splits import Splits, rendered_splits

CANVAS = 128
LETTER = (34, 46)
SHEET = (0.65, 1.0)
NEGATIVE = 0.3
SHOT = Shot(
    pose=Pose(scale=(1.25, 1.4), degrees=10, aspect=1.15, shear=0.12, tilt=0.08, shift=0.1),
    light=Light(exposure=(0.7, 1.15), cast=0.15, gradient=0.25, shadow=0.25, contrast=(0.7, 1.1)),
    sensor=Sensor(blur=(0.2, 0.5), motion=(0.0, 1.0), noise=(0.0, 0.04)),
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
    note="Random letters of one of twelve writing systems, printed on translucent sheets and "
    f"photographed by a simulated camera; {fonts.NOTE}; {backgrounds.NOTE}.",
    templates=("a photo of a text in {} script.",),
)


def draw_lines(letters: str, names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Lines of random letters that fill the canvas: (CANVAS, CANVAS, 4) uint8."""
    dark, light = rng.integers(0, 90, 3), rng.integers(165, 256, 3)
    paper, ink = (dark, light) if rng.random() < NEGATIVE else (light, dark)
    image = Image.new("RGBA", (CANVAS, CANVAS), (*paper.tolist(), int(255 * rng.uniform(*SHEET))))
    draw = ImageDraw.Draw(image)
    face = fonts.font(names[rng.integers(len(names))], int(rng.integers(*LETTER)))
    step, gap = face.size * rng.uniform(1.05, 1.3), rng.uniform(0.02, 0.12) * face.size
    baseline = rng.uniform(0.4, 1.0) * face.size
    while baseline < CANVAS + 0.5 * face.size:
        x = -rng.uniform(0, 0.5) * face.size
        while x < CANVAS:
            character = letters[rng.integers(len(letters))]
            draw.text((x, baseline), character, (*ink.tolist(), 255), face, "ls")
            x += face.getlength(character) + gap
        baseline += step
    return np.asarray(image)


def render(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures (n, size, size, 3) of text in the given scripts."""
    alphabets = list(SCRIPTS.values())
    names = [fonts.fonts_with(letters) for letters in alphabets]
    objects = np.stack([draw_lines(alphabets[k], names[k], rng) for k in labels])
    behind = backgrounds.random_backgrounds(len(labels), size, rng)
    return photograph(objects, behind, SHOT, rng)


def build(size: int, seed: int) -> Splits:
    """Rendered afresh for every split."""
    return rendered_splits("scripts", len(SCRIPTS), render, size, seed)
