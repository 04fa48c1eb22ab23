"""The suites there are: the modules that declare them.

To add a suite, write its file with `SPEC`, `key` and `build` (mergelib/suites/spec.py says what
they are) and add the file here. Nothing else stands in this file: which other suites there are is
no concern of a suite, so that a new line here makes nothing again.
"""

FILES = (
    "mergelib.suites.pico",
    "mergelib.suites.desk.spec",
    "mergelib.suites.text",
    "mergelib.suites.vision_desk.spec",
    "mergelib.suites.vision",
)
