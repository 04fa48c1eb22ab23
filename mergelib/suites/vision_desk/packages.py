"""Finds data files inside installed packages, without importing them and without downloading."""

import importlib.util
from functools import cache
from pathlib import Path

DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "font_source_sans_pro": "font-source-sans-pro",
    "font_source_serif_pro": "font-source-serif-pro",
    "font_fredoka_one": "font-fredoka-one",
    "font_amatic_sc": "font-amatic-sc",
    "font_hanken_grotesk": "font-hanken-grotesk",
    "font_roboto": "font-roboto",
    "font_caladea": "font-caladea",
    "font_manrope": "font-manrope",
    "font_intuitive": "font-intuitive",
}


@cache
def package_file(package: str, path: str) -> Path:
    """The file `path` inside the installed `package`.

    Raises FileNotFoundError naming the distribution to install if the package is absent,
    and naming the file if this version of the package does not ship it.
    """
    distribution = DISTRIBUTIONS.get(package, package)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"the desk suite reads {path} from the package {distribution}, which is not "
            f"installed: pip install {distribution}"
        )
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise FileNotFoundError(
            f"the installed package {distribution} does not ship {path}, which the desk suite reads"
        )
    return file
