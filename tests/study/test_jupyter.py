"""A notebook in a reader's hands: run from top to bottom in Jupyter, away from the root."""

import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
import websocket
from nbformat.v4 import new_code_cell, new_notebook

from mergelib.study.profiles import load_profile

TOKEN = "a-reader"
START, CELL = 60, 120  # seconds to wait for a server or kernel, and for a cell


class CellFailed(AssertionError):
    """A cell raised; the message says which, with what."""


@dataclass(frozen=True)
class Server:
    """A running Jupyter server: the folder that it shows, and its address."""

    root: Path
    results: Path
    port: int

    def ask(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=START) as answer:
            return json.loads(answer.read() or b"{}")

    def run(self, notebook, name: str) -> list[str]:
        """Puts a notebook into the folder, opens it and runs its cells; what they printed.

        Raises CellFailed at the first cell that raises.
        """
        self.ask("PUT", f"contents/{name}", {"type": "notebook", "content": notebook})
        kernel = {"name": notebook.metadata.get("kernelspec", {}).get("name", "python3")}
        opened = {"path": name, "name": name, "type": "notebook", "kernel": kernel}
        session = self.ask("POST", "sessions", opened)
        try:
            cells = self.ask("GET", f"contents/{name}")["content"]["cells"]
            code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
            path = f"/api/kernels/{session['kernel']['id']}/channels?session_id={uuid.uuid4().hex}"
            channel = websocket.create_connection(
                f"ws://127.0.0.1:{self.port}{path}",
                header=[f"Authorization: token {TOKEN}"],
                timeout=START,
            )
            try:
                return [execute(channel, source, i) for i, source in enumerate(code, start=1)]
            finally:
                channel.close()
        finally:
            self.ask("DELETE", f"sessions/{session['id']}")


def execute(channel: websocket.WebSocket, source: str, number: int) -> str:
    """Runs one cell as Jupyter's front ends do; returns what it printed."""
    ours, printed, waiting = uuid.uuid4().hex, "", {"execute_reply", "idle"}
    header = {"msg_id": ours, "msg_type": "execute_request", "session": "reader", "version": "5.3"}
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
    message = {"header": {**header, "username": "reader"}, "parent_header": {}, "metadata": {}}
    channel.send(json.dumps({**message, "content": content, "channel": "shell"}))
    deadline = time.monotonic() + CELL
    while waiting:
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        received = json.loads(channel.recv())
        if received["parent_header"].get("msg_id") != ours:
            continue
        kind, content = received["msg_type"], received["content"]
        if kind == "error":
            raise CellFailed(f"code cell {number}: {content['ename']}: {content['evalue']}")
        if kind == "stream" and content["name"] == "stdout":
            printed += content["text"]
        waiting -= {kind, content.get("execution_state")}
    return printed


@pytest.fixture(scope="module")
def server(pico_run, tmp_path_factory) -> Iterator[Server]:
    """A server of the tests' own whose folder is not the project's, with the experts of pico."""
    folder = tmp_path_factory.mktemp("a reader")
    root, runtime, results = folder / "elsewhere", folder / "runtime", folder / "results"
    root.mkdir()
    environment = {
        **os.environ,
        "MERGELIB_RESULTS": str(results),
        "MERGELIB_CACHE": pico_run.environment["MERGELIB_CACHE"],
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    options += [f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={TOKEN}"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Server(root, results, wait_for_port(process, runtime, folder / "log"))
    finally:
        process.terminate()  # with its kernels; those of a killed server end by themselves
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(process: subprocess.Popen, runtime: Path, log: Path) -> int:
    """The port that the server says it listens on."""
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        for said in runtime.glob("jpserver-*.json"):
            text = said.read_text()
            if text.endswith("}"):
                return json.loads(text)["port"]
        time.sleep(0.1)
    raise AssertionError(f"the Jupyter server did not start:\n{log.read_text()[-4000:]}")


def chapter(name: str):
    """A notebook of the study with the parameters of pico in a cell after its own defaults."""
    chapter = load_profile("pico").chapters[name]
    notebook = nbformat.read(chapter.path, as_version=4)
    tagged = [i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])]
    lines = "\n".join(f"{name} = {value!r}" for name, value in chapter.parameters.items())
    notebook.cells.insert(tagged[0] + 1, new_code_cell(lines))
    return notebook


@pytest.mark.slow
def test_a_chapter_runs_in_jupyter_from_top_to_bottom(server, pico_run):
    name = "01_one_base_eight_experts"
    notebook = chapter(name)
    notebook.cells.append(new_code_cell("import os\n\nprint(os.getcwd())"))
    printed = server.run(notebook, f"{name}.ipynb")
    assert len(printed) == sum(c.cell_type == "code" for c in notebook.cells)
    assert Path(printed[-1].strip()) == server.root
    numbers = json.loads((server.results / "pico" / f"{name}.json").read_text())
    expected = json.loads((pico_run.folder / "results" / "pico" / f"{name}.json").read_text())
    assert numbers == expected


def test_a_cell_that_fails_is_seen_and_says_which_chapter_must_run_first(server):
    cells = ["from mergelib import study", 'study.recall("01_x", "desk")', "1"]
    message = r"code cell 2: FileNotFoundError: .*run notebooks/01_x\.ipynb first"
    with pytest.raises(CellFailed, match=message):
        server.run(new_notebook(cells=[new_code_cell(source) for source in cells]), "x.ipynb")
