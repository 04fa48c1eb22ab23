"""Pages that work from a folder, without a network or a server.

MathJax is one script beside the pages, with its fonts inside. What the theme adds and such pages
cannot use is left out: font preloads, which browsers refuse for `file://` (the style sheet loads
the same fonts without complaint), Thebe, which runs cells on a remote server, and the download of
sources, which are not published.
"""

import importlib.metadata
import re
import shutil
from pathlib import Path

SCRIPT = "tex-svg.js"
UNUSABLE = re.compile(
    r'\s*<link rel="preload" as="font"[^>]*>'
    r'|\s*<link rel="stylesheet"[^>]*sphinx-thebe\.css[^>]*>'
    r"|\s*<script[^>]*sphinx-thebe\.js[^>]*></script>"
    r"|\s*<script>const THEBE_JS_URL.*?</script>"
    r'|\s*<script type="text/x-thebe-config">.*?</script>',
    re.DOTALL,
)


def configure(app, config) -> None:
    config.mathjax_path = SCRIPT
    config.html_theme_options["use_download_button"] = False


def finish(app, exception) -> None:
    if exception is not None or app.builder.format != "html":
        return
    wheel = importlib.metadata.files("sphinx-mathjax-offline")
    source = next(file for file in wheel if file.name == SCRIPT).locate()
    static = Path(app.outdir) / "_static"
    shutil.copyfile(source, static / SCRIPT)
    for template in static.glob("*.html"):
        template.unlink()
    for page in Path(app.outdir).rglob("*.html"):
        page.write_text(
            UNUSABLE.sub("", page.read_text(encoding="utf-8")),
            encoding="utf-8",
        )


def setup(app) -> dict:
    app.connect("config-inited", configure)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
