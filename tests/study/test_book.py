"""The built book in a real browser, from a folder, without a network."""

import re
from pathlib import Path

import axe_playwright_python
import pytest
from browser import WANTED, find

from mergelib.study import book

SIZES = {"desktop": (1300, 1300), "phone": (390, 844)}
# What a reader would see if a formula were not rendered.
RAW_FORMULA = re.compile(r"\$\$|\\\(|\\\[|\\(?:theta|tau|lambda|sum|frac|mathbf)\b")

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BROKEN_IMAGES = """[...document.images].filter(i => !i.complete || i.naturalWidth === 0)
    .map(i => i.src)"""
# Formulas that Sphinx wrote, those that MathJax drew, those it could not draw.
FORMULAS = """[document.querySelectorAll('.math').length,
    document.querySelectorAll('.math mjx-container').length,
    document.querySelectorAll('mjx-merror, [data-mjx-error]').length]"""
# Displayed formulas that are wider than their room, which then scrolls.
CUT = """[...document.querySelectorAll('div.math')].filter(e => {
        const drawn = e.querySelector('mjx-container');
        return drawn && drawn.scrollWidth > drawn.clientWidth + 1; })
    .map(e => e.id || e.textContent)"""
# Scripts and styles aside, and code, where a backslash may be meant.
TEXT = """(() => { const page = document.querySelector('article').cloneNode(true);
    page.querySelectorAll('pre, code, script, style, mjx-container').forEach(e => e.remove());
    return page.textContent; })()"""

# axe-core looks at what a page shows: contrast, texts in place of pictures, names of links. It
# leaves out the list of references, whose roles are docutils' own, and asks for no file again.
AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
BARRIERS = """async () => {
    const article = document.querySelector('article') || document.body;
    const found = await axe.run({include: [article], exclude: ['.citation-list']},
        {runOnly: ['wcag2a', 'wcag2aa'], preload: false});
    return found.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]); }"""


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = find()
    if path is None:
        pytest.fail(WANTED)
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", offline]
        )
        yield running
        running.close()


@pytest.fixture(scope="session", params=SIZES)
def visits(request, browser, pico_book):
    """Every page of the book as the browser saw it, at one window size."""
    width, height = SIZES[request.param]
    window = browser.new_page(viewport={"width": width, "height": height})
    seen = {}
    for path in sorted(pico_book.rglob("*.html")):
        seen[str(path.relative_to(pico_book))] = visit(window, path)
    window.close()
    return seen


def visit(window, path: Path) -> dict:
    """Load one page; what it asked for, complained about and shows."""
    asked, complaints = [], []

    def note_request(request):
        asked.append(request.url)

    def note_message(message):
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def note_error(error):
        complaints.append(f"exception: {error}")

    listeners = {"request": note_request, "console": note_message, "pageerror": note_error}
    for event, listener in listeners.items():
        window.on(event, listener)
    window.goto(path.as_uri())
    # Images below the fold load lazily.
    window.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    window.evaluate("window.MathJax ? MathJax.startup.promise.then(() => 0) : 0")
    window.wait_for_function("[...document.images].every(i => i.complete)")
    found = {
        "asked": asked,
        "complaints": complaints,
        "overflow": window.evaluate(OVERFLOW),
        "broken": window.evaluate(BROKEN_IMAGES),
        "images": window.evaluate("document.images.length"),
        "formulas": window.evaluate(FORMULAS),
        "cut": window.evaluate(CUT) if window.viewport_size["width"] > 1000 else [],
        "text": window.evaluate(TEXT) if window.query_selector("article") else "",
    }
    window.evaluate(AXE)
    found["barriers"] = window.evaluate(BARRIERS)
    for event, listener in listeners.items():
        window.remove_listener(event, listener)
    return found


def chapters(visits) -> dict:
    return {page: v for page, v in visits.items() if re.match(r"_executed/\d\d_", page)}


def test_no_page_complains(visits):
    assert {p: v["complaints"] for p, v in visits.items() if v["complaints"]} == {}


def test_nothing_is_asked_for_elsewhere(visits):
    remote = {
        page: [url for url in v["asked"] if not url.startswith(("file:", "data:", "blob:"))]
        for page, v in visits.items()
    }
    assert {page: urls for page, urls in remote.items() if urls} == {}


def test_every_figure_is_loaded(visits):
    assert {p: v["broken"] for p, v in visits.items() if v["broken"]} == {}
    assert all(v["images"] > 0 for v in chapters(visits).values())


def test_every_formula_is_rendered(visits):
    for page, seen in visits.items():
        written, drawn, failed = seen["formulas"]
        assert written == drawn, f"{page}: {written} formulas, {drawn} drawn"
        assert failed == 0, page
        assert RAW_FORMULA.search(seen["text"]) is None, page
    assert sum(v["formulas"][0] for v in chapters(visits).values()) > 0


def test_nothing_shuts_out_those_who_see_badly(visits):
    assert {p: v["barriers"] for p, v in visits.items() if v["barriers"]} == {}


def test_no_page_is_wider_than_its_window(visits):
    assert {p: v["overflow"] for p, v in visits.items() if v["overflow"] > 0} == {}


def test_no_displayed_formula_is_cut_on_a_wide_screen(visits):
    assert {p: v["cut"] for p, v in visits.items() if v["cut"]} == {}


def test_every_chapter_says_which_profile_made_it(visits, pico_run):
    for page, seen in chapters(visits).items():
        assert f"profile {pico_run.profile.name}" in re.sub(r"\s+", " ", seen["text"]) or (
            pico_run.profile.title in seen["text"]
        ), page


def test_links_within_the_book_lead_somewhere(pico_book):
    dead = []
    for page in pico_book.rglob("*.html"):
        for link in re.findall(r'href="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists():
                dead.append(f"{page.relative_to(pico_book)} → {link}")
    assert not dead


def test_pages_that_are_notebooks_of_the_book_were_executed(visits):
    seen = visits["_executed/own_models.html"]["text"]
    assert re.search(r"mean\s+0\.\d+\s+0\.\d+", seen)


def test_a_page_with_a_failing_cell_is_not_published(tmp_path):
    import nbformat

    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    nbformat.write(page, tmp_path / "page.ipynb")
    with pytest.raises(book.BookFailed, match=r"page\.ipynb failed: ZeroDivisionError"):
        book.execute_page(tmp_path / "page.ipynb", tmp_path / "out.ipynb")
    assert not (tmp_path / "out.ipynb").exists()


def test_a_notebook_with_an_error_is_not_published(pico_run, tmp_path):
    import nbformat

    name, path = next(iter(pico_run.executed.items()))
    page = nbformat.read(path, as_version=4)
    cell = next(c for c in page.cells if c.cell_type == "code")
    cell.outputs = [
        nbformat.v4.new_output("error", ename="ValueError", evalue="seen", traceback=[])
    ]
    nbformat.write(page, tmp_path / path.name)
    with pytest.raises(book.BookFailed, match=f"{name}.*cell 1: ValueError: seen"):
        book.stage(pico_run.profile, {name: tmp_path / path.name}, tmp_path / "book")
