"""A headless Chromium for tests of the explorer, and the page's state as Python reads it."""

import contextlib
import pathlib
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
_WATCH = """() => {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (e) => window.violations.push(e.violatedDirective));
}"""


@contextlib.contextmanager
def chromium():
    """A browser, or a skipped test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=_FLAGS)
        yield browser
        browser.close()


class Explorer:
    """An open page: what it requested, what went wrong, what it shows."""

    def __init__(self, browser, url, **context):
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.add_init_script(f"({_WATCH})()")
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def ready(self):
        self.page.wait_for_function("() => window.memorymaps", timeout=30_000)
        return self

    def run(self, code, argument=None):
        """Evaluate with `s` the store and `v` the first map's view."""
        body = f"(a) => {{ const s = window.memorymaps.store, v = window.memorymaps.views[0]; {code} }}"
        return self.page.evaluate(body, argument)

    def settle(self):
        """Wait for two frames and until every map has its size and nothing left to draw."""
        self.page.evaluate("() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
        self.page.wait_for_function(
            "() => window.memorymaps.views.every((v) => v.frame.width > 0 && v.waiting === 0 && v.stale.size === 0)"
        )

    def address(self):
        """The page's own link, once it has stopped changing."""
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
        self.context.close()
