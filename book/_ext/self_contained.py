"""Pages that work from a folder, without a network or a server.

MathJax is one script beside the pages, with its fonts inside. The theme's font preloads go:
browsers refuse them for `file://` pages (the style sheet loads the same fonts without complaint).
"""

import importlib.metadata
import re
import shutil
from pathlib import Path

SCRIPT = "tex-svg.js"
PRELOAD = re.compile(r'\s*<link rel="preload" as="font"[^>]*>')


def finish(app, exception) -> None:
    if exception is not None or app.builder.format != "html":
        return
    wheel = importlib.metadata.files("sphinx-mathjax-offline")
    source = next(file for file in wheel if file.name == SCRIPT).locate()
    shutil.copyfile(source, Path(app.outdir) / "_static" / SCRIPT)
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(PRELOAD.sub("", text), encoding="utf-8")


def setup(app) -> dict:
    app.connect("config-inited", lambda app, config: setattr(config, "mathjax_path", SCRIPT))
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
