"""What all tests share: a way to tell figures, so that a run of the suite ends with them."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.services.fixtures"]

FIGURES = "figures"
OUTCOMES = "EVENTPOST_OUTCOMES"
"""Names the file to which a run adds what came of its tests."""
# A machine that is busy takes as long as it takes: no example fails for its time.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
THIRD_PARTY = Path(__file__).parent / "thirdparty"
Say = Callable[[str], None]


@pytest.fixture
def say() -> Say:
    """Says a line as it happens: shown with `-s`, and when the test fails."""

    def write(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    return write


@pytest.fixture
def figures(say: Say, record_property: Callable[[str, object], None]) -> Say:
    """Says a line that stands in the summary of the whole run, too."""

    def tell(line: str) -> None:
        say(line)
        record_property(FIGURES, line)

    return tell


@pytest.fixture
def pigeon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's package `eventpost-pigeon` is installed, as far as Python can tell."""
    monkeypatch.syspath_prepend(str(THIRD_PARTY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is given the most time begins first, so that the other workers are not done long before
    the one that has it."""
    items.sort(key=_given_s, reverse=True)


def _given_s(item: pytest.Item) -> float:
    given = item.get_closest_marker("timeout")
    return 0.0 if given is None or not given.args else float(given.args[0])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keep what came of each test, for who asks later whether a promise was really held to:
    `scripts/write-conformance --ran`. Of several workers, the one process that hears of all."""
    place = os.environ.get(OUTCOMES)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not place or reporter is None or hasattr(session.config, "workerinput"):
        return
    with Path(place).open("a", encoding="utf-8") as file:
        for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
            reports = reporter.stats.get(outcome, ())
            file.writelines(f"{outcome} {each.nodeid}\n" for each in reports)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        f"{report.nodeid.rpartition('::')[2]}: {line}"
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, line in getattr(report, "user_properties", ())
        if name == FIGURES and report.when == "call"
    ]
    if lines:
        terminalreporter.section(FIGURES)
        for line in lines:
            terminalreporter.line(line)


def pytest_configure() -> None:
    """A shell that runs its jobs in the background has them ignore Ctrl-C, and `nohup` a terminal
    that closes, and their children too; the tests of these need the usual disposition."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
