"""A Chromium for the tests of the book: finds one; `python tests/browser.py` gets one if need be.

Playwright's download comes first, since it needs no rights; Debian's package where that cannot
be reached and the user may install it.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLAYWRIGHT = [sys.executable, "-m", "playwright"]
DOWNLOAD = [*PLAYWRIGHT, "install", "--no-shell", "chromium"]
LIBRARIES = [*PLAYWRIGHT, "install-deps", "chromium"]
APT_UPDATE = ["apt-get", "update", "-qq"]
APT_INSTALL = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
APT_INSTALL += ["chromium", "fonts-dejavu-core"]
WANTED = (
    "no Chromium that starts, and `make test` installs one only where it may: install it (Debian: "
    f"as root, apt-get install chromium), so that PATH has one of {', '.join(NAMES)}"
)
# Playwright tries five times; by default each waits half a minute for a host that is silent.
PATIENCE = {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "5000"}
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "FORCE_COLOR": "0"}


def find() -> str | None:
    """The first browser that starts: by NAMES on PATH, else the one that Playwright installed."""
    on_path = filter(None, map(shutil.which, NAMES))
    return next(filter(starts, chain(on_path, downloaded())), None)


def starts(path: str) -> bool:
    """False for a browser without its libraries, and for Ubuntu's stub that asks for a snap."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def downloaded() -> Iterator[str]:
    """Playwright's own browser, if it is there."""
    path = playwrights()
    if path and os.access(path, os.X_OK):
        yield path


def playwrights() -> str:
    """Where Playwright keeps its browser, there or not; "" if Playwright does not say."""
    # Asked for in another process: two Playwrights in one get in each other's way.
    code = "from playwright.sync_api import sync_playwright\n"
    code += "with sync_playwright() as here: print(here.chromium.executable_path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout.strip()


def may_use_apt() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install() -> str | None:
    """Tries one way after the other, and returns the browser of the first that brings one."""
    run(DOWNLOAD)
    if not (path := find()) and may_use_apt() and any(downloaded()):
        run(LIBRARIES)
        path = find()
    if not path and may_use_apt():
        run(APT_UPDATE)
        run(APT_INSTALL)
        path = find()
    return path


def run(command: list[str]) -> None:
    """Shows the command and each line that it prints once, stack traces left out."""
    shown = set()
    say(f"$ {' '.join(command).replace(sys.executable, 'python')}")
    process = subprocess.Popen(
        command,
        env={**PATIENCE, **os.environ, **QUIET},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    with process:
        for line in process.stdout:
            if line[:1].isalpha() or line.startswith("|"):
                if line not in shown:
                    say(line.rstrip())
                shown.add(line)


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """Exit status: 0 there is a browser, 1 there is none (one sentence says what to do)."""
    if find():
        return 0
    say("The book is tested in a browser, and there is none yet; getting Chromium.")
    if path := install():
        say(f"Chromium is {path}.")
        return 0
    print(f"error: {WANTED}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
