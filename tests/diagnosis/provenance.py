"""Which findings each test led to, and by what: a plugin of pytest for `make diagnose-report`.

A finding that a test led to was brought about

- really, when the test reached something outside of Python's memory (a socket, a process, a file of
  the store's), and nobody that only stands in for a service answered;
- by a cited answer, when a stand-in answered and the test is marked `cites(URL)`: where the bytes
  of that answer are public;
- by hand otherwise: a test that makes evidence itself, that reaches nothing, or whose stand-in says
  what nobody else says.

A test leads to the findings that were told while it ran, here or by an error that was raised, and
to those that it names itself, where the telling is in a process of its own. Each test is judged by
what it did while it ran, so one file may hold tests of every kind.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable, Generator
from enum import IntEnum
from types import CodeType, FunctionType, MethodType
from typing import Any

import pytest

from eventpost.core import errors, outcomes
from eventpost.diagnosis import catalogue, classify, codes, ranking
from tests.diagnosis import named_tests

REPORT = "EVENTPOST_DIAGNOSE_REPORT"
"""Set when only the tests are wanted that `named_tests` names."""
PROPERTY = "finding"
"""Of a test's report: `CODE WAY`, once for each finding."""
OUTSIDE = frozenset({"socket.connect", "socket.getaddrinfo", "subprocess.Popen"})
"""Audit events of Python's by which a test reaches what is outside."""
SERVICES = frozenset({"kafka", "rabbitmq", "azurite", "moto", "elasticmq", "redis", "postgresql"})
"""Fixtures of real services, whose clients may be written in C and raise no audit events."""
FILES = (
    *("tests/stores/", "tests/crash/", "tests/destinations/test_folder", "tests/doctor/test_way"),
    *("tests/destinations/test_storages", "tests/destinations/test_deadletter_files"),
    *("tests/queues/test_ledger", "tests/workers/test_ledger", "tests/credentials/"),
    *(
        "tests/sources/moving/test_journal",
        "tests/doctor/test_command",
        "tests/server/test_refused_starts",
        "tests/doctor/test_webhook",
    ),
)
"""Tests whose peer is the machine: real folders, disks and SQLite files, and the files and
variables in which the clouds' SDKs look for credentials."""
STAND_INS = (
    *("tests/destinations/test_lambda", "tests/e2e/test_function_endpoints"),
    "tests/doctor/test_networks",
    *(
        f"tests/credentials/test_azure_chain.py::{each}"
        for each in ("test_what_entra_says", "test_a_virtual_machine_without_identity")
    ),
    *(
        f"tests/destinations/test_storages.py::{each}"
        for each in ("test_what_s3_refuses", "test_what_an_account_refuses")
    ),
)
"""Tests whose stand-in is made of parts that others use for real, or is in another process."""
SILENT = frozenset(
    {"tests/destinations/test_lambda.py::test_each_answer_has_its_finding[no answer in time]"}
)
"""Cases of those in which nobody answers: silence needs nobody's words."""
_MAKES = re.compile(r"(?<!\w)Evidence\(")
_CODE = re.compile(r"\bEP[1-9]\d{3}\b")
_NAMED = re.compile(r"\bcodes\.([A-Z_]+)\b")
_NEGATED = re.compile(r"!=|\bnot in\b|\bis not\b")


class Way(IntEnum):
    """How a finding was brought about; the better the higher."""

    BY_HAND = 1
    CITED = 2
    REAL = 3


class Seen:
    """What one test did while it ran."""

    def __init__(self, item: pytest.Item) -> None:
        names = set(getattr(item, "fixturenames", ()))
        self.codes = named(item) & set(catalogue.all_codes())
        self.is_cited = item.get_closest_marker("cites") is not None
        self.reaches = bool(names & SERVICES) or item.nodeid.startswith(FILES)
        self.is_stood_in = item.nodeid.startswith(STAND_INS) and item.nodeid not in SILENT
        self.makes_evidence = makes_evidence(item)

    @property
    def way(self) -> Way:
        if self.makes_evidence or not self.reaches:
            return Way.BY_HAND
        if self.is_stood_in:
            return Way.CITED if self.is_cited else Way.BY_HAND
        return Way.REAL


def named(item: pytest.Item) -> set[str]:
    """The findings that the test itself names, in its parameters and in what it asserts."""
    function = getattr(item, "obj", None)
    function = getattr(function, "__func__", function)
    text = _source(function) if isinstance(function, FunctionType) else ""
    kept = "\n".join(line for line in text.splitlines() if not _NEGATED.search(line))
    callspec = getattr(item, "callspec", None)
    found = set(_CODE.findall(kept + repr(callspec.params if callspec else "")))
    return found | {str(getattr(codes, name, "")) for name in _NAMED.findall(kept)}


def makes_evidence(item: pytest.Item) -> bool:
    """Whether the test, a fixture of its or what they call in the tests makes evidence itself."""
    fixtures = getattr(item, "_fixtureinfo", None)
    found: list[object] = [getattr(item, "obj", None)]
    found += [getattr(item, "callspec", None) and item.callspec.params]  # type: ignore[attr-defined]  # of functions
    for name in getattr(item, "fixturenames", ()):
        found += [each.func for each in fixtures.name2fixturedefs.get(name, ())] if fixtures else []
    return _holds(found, known=set())


def _holds(value: object, known: set[int]) -> bool:
    if id(value) in known:
        return False
    known.add(id(value))
    if isinstance(value, outcomes.Evidence | outcomes.Failed):
        return True
    if isinstance(value, dict):
        return any(_holds(each, known) for each in value.values())
    if isinstance(value, list | tuple | set):
        return any(_holds(each, known) for each in value)
    if isinstance(value, MethodType):
        value = value.__func__
    if isinstance(value, type) and value.__module__.startswith("tests."):
        return any(_holds(each, known) for each in vars(value).values())
    if not isinstance(value, FunctionType) or not value.__module__.startswith("tests."):
        return False
    if _MAKES.search(_source(value)):
        return True
    named = _names(value.__code__)
    return any(_holds(value.__globals__.get(name), known) for name in named)


def _source(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except OSError:  # written by a library, such as a dataclass's `__init__`
        return ""


def _names(code: CodeType) -> set[str]:
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


class Recorder:
    """Watches the tests of this process. Findings go with the tests' reports, also from workers."""

    def __init__(self) -> None:
        self.seen: Seen | None = None
        sys.addaudithook(self._audit)
        self._watch_findings()
        self._watch_stand_ins()

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Only those that are named, where the report wants no more."""
        if REPORT in os.environ:
            named = named_tests.wanted()
            left_out = [each for each in items if not named_tests.is_wanted(each.nodeid, named)]
            config.hook.pytest_deselected(items=left_out)
            items[:] = [each for each in items if named_tests.is_wanted(each.nodeid, named)]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.seen = Seen(item)
        try:
            return (yield)
        finally:
            self.seen = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            assert self.seen is not None
            way = self.seen.way.name
            item.user_properties += [(PROPERTY, f"{code} {way}") for code in self.seen.codes]

    def note(self, what: str) -> None:
        if self.seen is not None:
            setattr(self.seen, what, True)

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in OUTSIDE:
            self.note("reaches")

    def _watch_findings(self) -> None:
        """Before any test imports them by name."""
        plain_classify, plain_describe = classify.classify, classify.describe

        def classified(evidence: outcomes.Evidence) -> str:
            return self._led_to(plain_classify(evidence))

        def described(code: str, evidence: outcomes.Evidence | None = None) -> classify.Explanation:
            return plain_describe(self._led_to(code), evidence)

        classify.classify, classify.describe = classified, described
        plain_rank, plain_error = ranking.rank, errors.EventpostError.__init__

        def ranked(*args: Any, **named: Any) -> ranking.Diagnosis:
            diagnosis = plain_rank(*args, **named)
            self._led_to(diagnosis.code)
            return diagnosis

        def raised(error: errors.EventpostError, code: str, *args: Any, **named: Any) -> None:
            plain_error(error, self._led_to(code), *args, **named)

        ranking.rank = ranked
        setattr(errors.EventpostError, "__init__", raised)  # noqa: B010 - assigning it is no type of mypy's

    def _led_to(self, code: str) -> str:
        if self.seen is not None and catalogue.CODE.fullmatch(code):
            self.seen.codes.add(code)
        return code

    def _watch_stand_ins(self) -> None:
        from eventpost.testing.fault_proxy import FaultProxy
        from eventpost.testing.receiver import Answer
        from eventpost.testing.scripted import ScriptedService
        from tests.queues.sqs.answering import AnsweringServer
        from tests.services.mailserver import HANG, VANISH, MailServer

        def watch(place: type, name: str, is_answer: Callable[[object], bool]) -> None:
            plain = getattr(place, name)

            def watched(*args: Any, **named: Any) -> object:
                answer = plain(*args, **named)
                if is_answer(answer):
                    self.note("is_stood_in")
                return answer

            setattr(place, name, watched)

        def refuses(answer: object) -> bool:
            """What only goes along with the protocol leads to no finding."""
            status = answer.status if isinstance(answer, Answer) else answer
            return isinstance(status, int) and status >= 400

        watch(ScriptedService, "_choose", refuses)
        watch(
            FaultProxy, "_reaction", lambda answer: isinstance(answer, Answer) or callable(answer)
        )
        watch(AnsweringServer, "__init__", lambda _: True)
        watch(MailServer, "answer", lambda answer: bool(answer) and answer not in (HANG, VANISH))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder())
