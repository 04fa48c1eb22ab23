"""How `make test` gets a browser: what is found, which step follows which; nothing is loaded."""

import os
from pathlib import Path

import browser
import pytest

STARTS, BROKEN = "exit 0", "echo error while loading shared libraries >&2; exit 127"


def write_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing on PATH but two folders, `one` before `two`, both empty."""
    folders = tmp_path / "one", tmp_path / "two"
    for folder in folders:
        folder.mkdir()
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "playwright"))
    return tmp_path


def test_nothing_is_found_where_there_is_nothing(machine):
    assert browser.find() is None


def test_names_come_in_their_order_and_folders_in_that_of_path(machine):
    chrome = write_program(machine / "one" / "google-chrome", STARTS)
    assert browser.find() == str(chrome)
    second = write_program(machine / "two" / "chromium", STARTS)
    assert browser.find() == str(second)
    first = write_program(machine / "one" / "chromium", STARTS)
    assert browser.find() == str(first)


def test_a_browser_that_does_not_start_is_passed_over(machine):
    write_program(machine / "one" / "chromium", BROKEN)
    assert browser.find() is None
    chrome = write_program(machine / "two" / "google-chrome", STARTS)
    assert browser.find() == str(chrome)


def test_playwrights_own_browser_is_found_after_those_on_path(machine):
    own = Path(browser.playwrights())
    assert own.is_relative_to(machine / "playwright")
    write_program(own, STARTS)
    assert browser.find() == str(own)
    chromium = write_program(machine / "two" / "chromium", STARTS)
    assert browser.find() == str(chromium)


# Getting one: `download`, `libraries` and `apt-get` below stand for the real ones, and note that
# they were called.

NOTE = 'echo "${{0##*/}} $1" >> {log}; '
APT = '[ "$1" = install ] && /bin/cp -p {ready} {place}'


@pytest.fixture
def stand_ins(machine, monkeypatch):
    """Called with who the user is and with the shell code of each stand-in, it writes them."""
    monkeypatch.setattr(browser, "playwrights", lambda: str(machine / "own"))
    monkeypatch.setattr(browser, "DOWNLOAD", [str(machine / "download")])
    monkeypatch.setattr(browser, "LIBRARIES", [str(machine / "libraries")])
    words = {
        "log": machine / "log",
        "ready": write_program(machine / "ready", STARTS),
        "broken": write_program(machine / "broken", BROKEN),
        "own": machine / "own",
        "place": machine / "two" / "chromium",
    }

    def programs(root: bool, download: str = "exit 1", libraries: str = "exit 1", apt=None):
        monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
        write_program(machine / "download", (NOTE + download).format(**words))
        write_program(machine / "libraries", (NOTE + libraries).format(**words))
        if apt is not None:
            write_program(machine / "one" / "apt-get", (NOTE + apt).format(**words))

    return programs


def calls(machine: Path) -> list[str]:
    log = machine / "log"
    return [line.strip() for line in log.read_text().splitlines()] if log.exists() else []


def test_where_there_is_a_browser_nothing_is_done(machine, stand_ins, capfd):
    stand_ins(root=True, apt=APT)
    write_program(machine / "one" / "chrome", STARTS)
    assert browser.main() == 0
    assert calls(machine) == []
    assert capfd.readouterr() == ("", "")


def test_playwrights_download_comes_first(machine, stand_ins, capfd):
    stand_ins(root=True, download="/bin/cp -p {ready} {own}", apt=APT)
    assert browser.main() == 0
    assert calls(machine) == ["download"]
    assert f"Chromium is {machine / 'own'}." in capfd.readouterr().out


def test_where_nothing_can_be_downloaded_root_gets_debians_package(machine, stand_ins, capfd):
    stand_ins(root=True, apt=APT)
    assert browser.main() == 0
    assert calls(machine) == ["download", "apt-get update", "apt-get install"]
    assert f"Chromium is {machine / 'two' / 'chromium'}." in capfd.readouterr().out


def test_root_adds_the_libraries_that_a_downloaded_browser_lacks(machine, stand_ins):
    stand_ins(
        root=True,
        download="/bin/cp -p {broken} {own}",
        libraries="/bin/cp -p {ready} {own}",
        apt=APT,
    )
    assert browser.main() == 0
    assert calls(machine) == ["download", "libraries"]


@pytest.mark.parametrize("root, apt", [(False, APT), (True, None)])
def test_who_may_not_install_is_told_what_to_install(machine, stand_ins, capfd, root, apt):
    stand_ins(root=root, apt=apt)
    assert browser.main() == 1
    assert calls(machine) == ["download"]
    assert capfd.readouterr().err == f"error: {browser.WANTED}\n"
    assert browser.WANTED.count("apt-get install chromium") == 1 and "\n" not in browser.WANTED


def test_where_no_way_leads_to_a_browser_one_sentence_says_so(machine, stand_ins, capfd):
    stand_ins(root=True, apt="exit 100")
    assert browser.main() == 1
    assert calls(machine) == ["download", "apt-get update", "apt-get install"]
    assert capfd.readouterr().err == f"error: {browser.WANTED}\n"


def test_progress_is_shown_as_it_comes_and_stack_traces_are_not(machine, stand_ins, capfd):
    tries = (
        "Downloading\\n|##  |  50%% of 9 MiB\\nError: no host\\n    at Socket.emit\\n  code: 1\\n"
    )
    stand_ins(root=False, download=f"printf '{tries}'; printf '{tries}'; exit 1")
    assert browser.main() == 1
    shown = capfd.readouterr().out.splitlines()
    assert shown[2:] == ["Downloading", "|##  |  50% of 9 MiB", "Error: no host"]


def test_a_host_that_is_silent_is_not_waited_for(machine, stand_ins, capfd):
    stand_ins(root=False, download='echo "waits $PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT ms"')
    browser.main()
    assert "waits 5000 ms" in capfd.readouterr().out
