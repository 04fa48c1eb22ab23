"""Formulas without a network: copies one MathJax script, fonts inside, into the built book."""

import importlib.metadata
import shutil
from pathlib import Path

SCRIPT = "tex-svg.js"


def copy_script(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        wheel = importlib.metadata.files("sphinx-mathjax-offline")
        source = next(file for file in wheel if file.name == SCRIPT).locate()
        shutil.copyfile(source, Path(app.outdir) / "_static" / SCRIPT)


def setup(app) -> dict:
    app.connect("config-inited", lambda app, config: setattr(config, "mathjax_path", SCRIPT))
    app.connect("build-finished", copy_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
