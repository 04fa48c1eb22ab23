"""Fonts from installed packages, and which characters they truly have."""

from functools import cache
from pathlib import Path

from PIL import ImageFont

from mergelib.suites.vision_desk.packages import package_file

MATPLOTLIB = "mpl-data/fonts/ttf/"
FONTS = {
    "DejaVu Sans": ("matplotlib", MATPLOTLIB + "DejaVuSans.ttf"),
    "DejaVu Sans Bold": ("matplotlib", MATPLOTLIB + "DejaVuSans-Bold.ttf"),
    "DejaVu Sans Oblique": ("matplotlib", MATPLOTLIB + "DejaVuSans-Oblique.ttf"),
    "DejaVu Sans Bold Oblique": ("matplotlib", MATPLOTLIB + "DejaVuSans-BoldOblique.ttf"),
    "DejaVu Sans Mono": ("matplotlib", MATPLOTLIB + "DejaVuSansMono.ttf"),
    "DejaVu Sans Mono Bold": ("matplotlib", MATPLOTLIB + "DejaVuSansMono-Bold.ttf"),
    "DejaVu Serif": ("matplotlib", MATPLOTLIB + "DejaVuSerif.ttf"),
    "DejaVu Serif Bold": ("matplotlib", MATPLOTLIB + "DejaVuSerif-Bold.ttf"),
    "DejaVu Serif Italic": ("matplotlib", MATPLOTLIB + "DejaVuSerif-Italic.ttf"),
    "STIX": ("matplotlib", MATPLOTLIB + "STIXGeneral.ttf"),
    "STIX Bold": ("matplotlib", MATPLOTLIB + "STIXGeneralBol.ttf"),
    "STIX Italic": ("matplotlib", MATPLOTLIB + "STIXGeneralItalic.ttf"),
    "Computer Modern Sans": ("matplotlib", MATPLOTLIB + "cmss10.ttf"),
    "Computer Modern Typewriter": ("matplotlib", MATPLOTLIB + "cmtt10.ttf"),
    "Roboto": ("font_roboto", "files/Roboto-Regular.ttf"),
    "Roboto Black": ("font_roboto", "files/Roboto-Black.ttf"),
    "Roboto Light": ("font_roboto", "files/Roboto-Light.ttf"),
    "Source Sans": ("font_source_sans_pro", "files/SourceSansPro-Regular.ttf"),
    "Source Sans Black": ("font_source_sans_pro", "files/SourceSansPro-Black.ttf"),
    "Source Serif": ("font_source_serif_pro", "files/SourceSerifPro-Regular.ttf"),
    "Source Serif Bold": ("font_source_serif_pro", "files/SourceSerifPro-Bold.ttf"),
    "Source Serif Black": ("font_source_serif_pro", "files/SourceSerifPro-Black.ttf"),
    "Caladea": ("font_caladea", "files/Caladea-Regular.ttf"),
    "Caladea Bold": ("font_caladea", "files/Caladea-Bold.ttf"),
    "Caladea Bold Italic": ("font_caladea", "files/Caladea-BoldItalic.ttf"),
    "Manrope": ("font_manrope", "files/Manrope-Regular.ttf"),
    "Manrope Extra Bold": ("font_manrope", "files/Manrope-ExtraBold.ttf"),
    "Fredoka One": ("font_fredoka_one", "files/FredokaOne-Regular.ttf"),
    "Amatic SC Bold": ("font_amatic_sc", "files/AmaticSC-Bold.ttf"),
    "Hanken Grotesk": ("font_hanken_grotesk", "files/HankenGrotesk-Regular.otf"),
    "Hanken Grotesk Bold": ("font_hanken_grotesk", "files/HankenGrotesk-Bold.otf"),
    "Intuitive": ("font_intuitive", "files/Intuitive.ttf"),
}
NOTE = (
    "letters are drawn with fonts from matplotlib (DejaVu, STIX, Computer Modern: free licences) "
    "and the font-* packages (SIL Open Font Licence or Apache 2.0)"
)


def font_path(name: str) -> Path:
    """The file of a font of `FONTS`. Raises KeyError for any other name."""
    if name not in FONTS:
        raise KeyError(f"unknown font {name!r}: the desk suite uses {', '.join(FONTS)}")
    return package_file(*FONTS[name])


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels, laid out one glyph after the other."""
    return ImageFont.truetype(font_path(name), size, layout_engine=ImageFont.Layout.BASIC)


@cache
def characters(name: str) -> frozenset[int]:
    """Code points for which a font has a glyph (its cmap table)."""
    from fontTools.ttLib import TTFont

    with TTFont(font_path(name), lazy=True) as file:
        return frozenset(file.getBestCmap())


def fonts_with(text: str) -> tuple[str, ...]:
    """Names of all fonts that have a glyph for every character of `text`."""
    needed = {ord(character) for character in text}
    return tuple(name for name in FONTS if needed <= characters(name))
