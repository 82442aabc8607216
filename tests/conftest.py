"""Pictures without a screen, and maps that many tests read."""

import matplotlib
import numpy as np
import pytest
from browser import Explorer, chromium
from extras import missing_extra
from remedies import Said, message
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from memorymaps import memory_map
from memorymaps.data.datasets import demo_model

matplotlib.use("Agg")
PASSED = pytest.StashKey[bool]()
STATES = pytest.StashKey[dict]()


def pytest_configure(config):
    config.addinivalue_line("markers", "remedy(part, at): provokes the message with `part`, and does what it says")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Examples of optional packages that are not installed are skipped; typing what messages say is for the suite."""
    for item in items:
        if item.get_closest_marker("remedy"):
            item.add_marker(pytest.mark.slow)
        if isinstance(item, pytest.DoctestItem):
            missing = missing_extra("\n".join(example.source for example in item.dtest.examples))
            if missing:
                item.add_marker(pytest.mark.skip(reason=f"{missing} is not installed"))


def generators(item):
    """Those of NumPy that the test's module holds."""
    return [each for each in vars(getattr(item, "module", object)).values() if isinstance(each, np.random.Generator)]


def pytest_collection_finish(session):
    """Keep where the modules' generators stand before any test has drawn from them."""
    found = {each.bit_generator for item in session.items for each in generators(item)}
    session.stash[STATES] = {each: (each.state, each.jumped().state) for each in found}


def start_again(item, place):
    for each in generators(item):
        each.bit_generator.state = item.session.stash[STATES][each.bit_generator][place]


def pytest_runtest_setup(item):
    """A test's numbers do not depend on which tests ran before it, nor on which worker."""
    start_again(item, 0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    """Nor on whether it was the first to make a fixture of the module: other numbers than those of fixtures."""
    start_again(item, 1)


@pytest.fixture
def said(request):
    """The messages that the test's marks name; each of them has been made when the test is over."""
    said = Said([message(*mark.args) for mark in request.node.iter_markers("remedy")])
    yield said
    missing = [m.text for m in said.wanted if m not in said.made]
    passed = request.node.stash.get(PASSED, False)  # False too where a later fixture has skipped the test
    assert not missing or not passed, f"never said: {missing}"


@pytest.fixture(scope="session")
def diabetes_map():
    X, y = load_diabetes(return_X_y=True)
    return memory_map(LinearRegression().fit(X, y), X, y)


@pytest.fixture(scope="session")
def cancer_map():
    X, y = load_breast_cancer(return_X_y=True)
    return memory_map(make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8)).fit(X, y), X, y)


@pytest.fixture(scope="session")
def digits_map():
    return memory_map(*demo_model())


@pytest.fixture(scope="session")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser):
    """Open pages that are closed, and were without errors, violations and requests, after the test."""
    pages = []

    def open_page(path, **context):
        pages.append(Explorer(browser, path if isinstance(path, str) else path.as_uri(), **context))
        return pages[-1].ready()

    yield open_page
    for page in pages:
        assert page.errors == []
        assert page.page.evaluate("() => window.violations") == []
        assert page.page.evaluate("() => window.hit ?? null") is None
        assert {url.partition(":")[0] for url in page.requests} <= {"file", "blob", "data", "http"}
        page.close()
