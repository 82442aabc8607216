"""A headless Chromium for tests of the explorer, and the page's state as Python reads it."""

import contextlib
import pathlib
import shutil

import pytest
from timeouts import TIMEOUT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_WATCH = """() => {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective));
}"""
# two frames, each with the timers that it started (the page runs its effects in those)
_FRAMES = """() => new Promise((done) => {
  const frame = (then) => requestAnimationFrame(() => setTimeout(then));
  frame(() => frame(done));
})"""
_DRAWN = """() => {
  const views = window.memorymaps.views.slice(0, document.querySelectorAll(".mm-pane").length);
  return views.length === document.querySelectorAll(".mm-pane").length
    && views.every((v) => v.frame.width > 0 && v.waiting === 0 && v.stale.size === 0);
}"""


@contextlib.contextmanager
def chromium():
    """A browser, or a skipped test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    options = {"executable_path": CHROMIUM, "args": _FLAGS, "timeout": 1000 * TIMEOUT}
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(headless=True, **options)
        yield browser
        browser.close()


def new_page(browser, **context):
    """A page in a context of its own, with as much time for each action as it takes."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(1000 * TIMEOUT)
    return page


class Explorer:
    """An open page: what it requested, what went wrong, what it shows."""

    def __init__(self, browser, url, **context):
        self.page = new_page(browser, **{"viewport": {"width": 1280, "height": 800}, **context})
        self.errors, self.requests = [], []
        self.page.add_init_script(f"({_WATCH})()")
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def ready(self):
        """Wait until every map is there and drawn."""
        self.page.wait_for_function("() => window.memorymaps")
        self.settle()
        return self

    def run(self, code, argument=None):
        """Evaluate with `s` the store and `v` the first map's view."""
        body = f"(a) => {{ const s = window.memorymaps.store, v = window.memorymaps.views[0]; {code} }}"
        return self.page.evaluate(body, argument)

    def settle(self):
        """Wait for two frames and until every pane has its map, with its size and nothing left to draw."""
        self.page.evaluate(_FRAMES)
        self.page.wait_for_function(_DRAWN)

    def address(self):
        """The page's own link, once it has stopped changing.

        The page writes it by a timer of 250 ms that the last change started; timers fire in the order of their ends,
        so that one of 600 ms started later fires later, however slow the machine.
        """
        self.page.wait_for_function(
            """() => new Promise((done) => {
                 const before = location.hash;
                 setTimeout(() => done(before !== "" && location.hash === before), 600);
               })"""
        )
        return self.page.url

    def spot(self, row):
        """Where an example is on the screen."""
        box = self.page.locator(".mm-top").first.bounding_box()
        x, y = self.run("return [v.px(a), v.py(a)]", row)
        return box["x"] + x, box["y"] + y

    def hover(self, row):
        self.page.mouse.move(*self.spot(row))
        self.settle()

    def listed(self):
        return self.run("return Array.from(s.listed.value, (i) => s.table.id(i))")

    def selected(self):
        return self.run("return [...s.selection.value]")

    def download(self, button):
        with self.page.expect_download() as found:
            self.page.get_by_role("button", name=button, exact=True).click()
        return pathlib.Path(found.value.path()).read_text(encoding="utf-8")

    def close(self):
        self.page.context.close()
