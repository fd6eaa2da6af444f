"""Tokens of Microsoft Entra for webhooks: the official library against the documented protocol."""

import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import entra as sessions
from eventpost.credentials.entra import EntraConnection
from eventpost.destinations.tokens import Bearer, Tokens
from eventpost.diagnosis.classify import classify
from eventpost.http.client_limits import ClientLimits
from eventpost.testing.azure_identity import APPLICATION, TENANT, AzureIdentity, refusal
from eventpost.testing.clock import VirtualClock
from eventpost.testing.destination_conformance import PATIENCE_S
from eventpost.testing.receiver import HANG, Answer, Reaction
from tests.destinations.entra import AUDIENCE, LIFE_S, SECRET, Entra, endpoint, entra_on_loopback

ENDPOINT = endpoint("https://hooks.example/songs")
LIMITS = ClientLimits()
OTHER_TENANT = "22222222-2222-4333-8444-555555555555"


@pytest.fixture
def entra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entra]:
    with entra_on_loopback(tmp_path, monkeypatch) as found:
        yield found


def audience(application: str) -> Endpoint:
    return msgspec.structs.replace(
        ENDPOINT, azure_active_directory_application_id_or_uri=application
    )


class Desk:
    """Tokens, a clock, and what was told to those who waited."""

    def __init__(self) -> None:
        self.clock = VirtualClock(int(time.time() * 1_000))
        self.tokens = Tokens()
        self.told: list[bytes | Evidence] = []
        self.now_ms: Callable[[], int] = self.clock.now_ms
        self.call_later = self.clock.call_later
        self.call_soon = self.clock.call_soon
        self.call_soon_threadsafe = self.clock.call_soon_threadsafe

    def limit(self, **limits: Any) -> None:
        self.tokens.close()
        self.tokens = Tokens(ClientLimits(**limits))

    def bearer(self, settings: EntraConnection, wanted: object = ENDPOINT) -> Bearer:
        return self.tokens.bearer(wanted, settings, self)  # type: ignore[arg-type]  # an Endpoint

    def ask(self, bearer: Bearer, timeout_s: float = 30.0) -> bytes | Evidence:
        """What is told to one who waits."""
        before = len(self.told)
        bearer.wait(timeout_s, self.told.append)
        assert len(self.told) == before, "told before the call returned"
        self.until(lambda: len(self.told) > before)
        return self.told[-1]

    def until(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "waited too long"
            self.clock.settle()
            time.sleep(0.001)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.tokens.close()


def line_of(entra: Entra) -> bytes:
    """With the last token that was handed out."""
    return f"Authorization: Bearer {entra.service.tokens[-1]}\r\n".encode()


def evidence_of(found: bytes | Evidence) -> Evidence:
    assert isinstance(found, Evidence), "there was a token"
    assert (found.stage, found.system, found.operation) == (Stage.CREDENTIALS, "azure", "token")
    assert SECRET not in repr(found)
    return found


def test_the_documented_request(entra: Entra, desk: Desk) -> None:
    """The client credentials flow: the tenant in the path, the application's id and secret in the
    form, and the webhook's application as the scope."""
    assert desk.ask(desk.bearer(entra.settings)) == line_of(entra)

    [request] = entra.asked
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert request.path == f"/{TENANT}/oauth2/v2.0/token"
    assert form["grant_type"] == "client_credentials"
    assert (form["client_id"], form["client_secret"]) == (APPLICATION, SECRET)
    assert f"{AUDIENCE}/.default" in form["scope"].split()


def test_one_question_for_all_who_wait(entra: Entra, desk: Desk) -> None:
    """Any number of attempts, of any webhooks that want the same token, ask once."""
    entra.service.script(HANG)
    first, second = (
        desk.bearer(entra.settings),
        desk.bearer(entra.settings, endpoint("https://else.example/")),
    )
    for bearer in (first, first, second):
        bearer.wait(30.0, desk.told.append)
    entra.service.wait_for(1)

    entra.service.release()

    desk.until(lambda: len(desk.told) == 3)
    assert first is second
    assert first.line() == second.line()


@pytest.mark.parametrize(("fetches_max", "at_once"), [(1, 1), (2, 2), (3, 2)])
def test_so_many_questions_at_once(
    entra: Entra, desk: Desk, fetches_max: int, at_once: int
) -> None:
    """No more audiences are asked for at the same time than the bound says; the others wait for
    their turn, and get their token."""
    desk.limit(token_fetches_max=fetches_max)
    entra.service.entra_answer = HANG
    bearers = [desk.bearer(entra.settings, audience(f"api://{name}")) for name in ("a", "b")]
    for bearer in bearers:
        bearer.wait(30.0, desk.told.append)
    desk.until(lambda: entra.service.held_count == at_once)
    assert desk.tokens.asking_count == 2
    assert len(entra.asked) == at_once

    entra.service.entra_answer = None
    entra.service.release(entra.service.grant(AUDIENCE, APPLICATION))

    desk.until(lambda: len(desk.told) == 2)
    assert all(isinstance(each, bytes) for each in desk.told)
    assert desk.tokens.asking_count == 0


def test_another_audience_has_another_token(entra: Entra, desk: Desk) -> None:
    """A token never goes to an application that it is not for."""
    one, two = desk.bearer(entra.settings), desk.bearer(entra.settings, audience("api://else"))

    assert desk.ask(one) != desk.ask(two)


def test_a_token_is_renewed_while_it_is_used(entra: Entra, desk: Desk) -> None:
    """Nobody waits for a renewal: the old token goes out until the new one is there."""
    bearer = desk.bearer(entra.settings)
    old = desk.ask(bearer)
    desk.clock.advance(LIFE_S / 2 - 2)
    assert bearer.line() == old
    assert len(entra.asked) == 1

    desk.clock.advance(3)
    entra.service.entra_answer = HANG
    assert bearer.line() == old
    desk.until(lambda: entra.service.held_count == 1)
    assert bearer.line() == old
    assert len(entra.asked) == 2
    entra.service.release(entra.service.grant(AUDIENCE, APPLICATION))

    desk.until(lambda: bearer.line() != old)
    assert bearer.line() == line_of(entra)


def test_a_renewal_in_vain(entra: Entra, desk: Desk) -> None:
    """While the token is good, a failure to renew it harms nobody, and is not repeated at once."""
    bearer = desk.bearer(entra.settings)
    old = desk.ask(bearer)
    entra.service.script(500)
    desk.clock.advance(LIFE_S / 2 + 1)

    assert bearer.line() == old
    desk.until(lambda: bearer._failure is not None)
    desk.clock.advance(LIMITS.token_renew_retry_s - 1)
    asked_count = len(entra.service.asked)
    assert bearer.line() == old
    assert len(entra.service.asked) == asked_count
    desk.clock.advance(2)
    bearer.line()
    desk.until(lambda: bearer.line() != old)
    assert bearer.line() == line_of(entra)


def test_a_token_whose_time_is_over(entra: Entra, desk: Desk) -> None:
    """It never goes out: whoever comes then waits for a new one."""
    bearer = desk.bearer(entra.settings)
    old = desk.ask(bearer)

    desk.clock.advance(LIFE_S + 1)

    assert bearer.line() is None
    assert desk.ask(bearer) == line_of(entra) != old


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        (500, "EP4600"),
        (503, "EP4600"),
        (Answer(200, b"<html>welcome to our wireless network</html>"), "EP4600"),
        (refusal("AADSTS7000215: Invalid client secret provided."), "EP4608"),
        (refusal("AADSTS700016: Application was not found"), "EP4607"),
        (refusal("AADSTS500011: The resource principal was not found", status=400), "EP4613"),
        (refusal("AADSTS501051: Application is not assigned to a role", status=400), "EP3662"),
    ],
    ids=["500", "503", "garbage", "secret", "application", "audience", "role"],
)
def test_why_there_is_no_token(entra: Entra, desk: Desk, answer: Reaction, finding: str) -> None:
    """Each refusal is evidence with its finding, and the next question may be answered."""
    entra.service.entra_answer = answer
    bearer = desk.bearer(entra.settings)

    found = evidence_of(desk.ask(bearer))

    assert classify(found) == finding
    assert found.credential == "ClientSecretCredential"
    entra.service.entra_answer = None
    desk.clock.advance(LIMITS.token_retry_s + 0.1)
    assert desk.ask(bearer) == line_of(entra)


def test_nobody_listens(entra: Entra, desk: Desk) -> None:
    """A place that cannot be reached is told as that, and asked again when it can."""
    entra.service.refuse()
    bearer = desk.bearer(entra.settings)

    assert classify(evidence_of(desk.ask(bearer))) == "EP4612"

    entra.service.listen()
    desk.clock.advance(LIMITS.token_retry_s + 0.1)
    assert desk.ask(bearer) == line_of(entra)


def test_a_failure_is_not_asked_for_again_at_once(entra: Entra, desk: Desk) -> None:
    """A thousand attempts after a failure are one question a second, not a thousand."""
    entra.service.entra_answer = 500
    bearer = desk.bearer(entra.settings)
    first = desk.ask(bearer)
    asked_count = len(entra.service.asked)

    for _ in range(1_000):
        bearer.wait(30.0, desk.told.append)
    desk.clock.advance(LIMITS.token_retry_s / 2)

    assert desk.told == [first] * 1_001
    assert len(entra.service.asked) == asked_count


def test_pauses_grow(entra: Entra, desk: Desk) -> None:
    """A place that fails for long is asked less and less, and within a minute at the latest."""
    entra.service.entra_answer = 500
    bearer = desk.bearer(entra.settings)
    pauses_s = []
    for _ in range(8):
        desk.ask(bearer)
        pauses_s.append((bearer._not_before_ms - desk.now_ms()) / 1_000)
        desk.clock.advance(pauses_s[-1])

    assert pauses_s == [1, 2, 4, 8, 16, 32, 60, 60]
    entra.service.entra_answer = None
    assert desk.ask(bearer) == line_of(entra)


def test_pauses_are_settings(entra: Entra, desk: Desk) -> None:
    """The first pause and what it grows to are as the settings say."""
    desk.limit(token_retry_s=2, token_retry_s_max=3)
    entra.service.entra_answer = 500
    bearer = desk.bearer(entra.settings)
    pauses_s = []
    for _ in range(3):
        desk.ask(bearer)
        pauses_s.append((bearer._not_before_ms - desk.now_ms()) / 1_000)
        desk.clock.advance(pauses_s[-1])

    assert pauses_s == [2, 3, 3]


@pytest.mark.parametrize(
    ("asked_s", "bound_s", "pause_s"),
    [(0, 120, 1), (1, 120, 1), (119, 120, 119), (120, 120, 120), (121, 120, 120), (5, 0, 1)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_who_issues_tokens_asks_to_wait(
    entra: Entra, desk: Desk, status: int, asked_s: int, bound_s: int, pause_s: int
) -> None:
    """`Retry-After` lengthens the pause, up to its bound: nobody is asked before, and whoever comes
    meanwhile hears how long it still is."""
    desk.limit(token_retry_after_s_max=bound_s)
    entra.service.entra_answer = Answer(status, b"{}", {"Retry-After": str(asked_s)})
    bearer = desk.bearer(entra.settings)
    assert evidence_of(desk.ask(bearer)).retry_after_s == asked_s
    asked_count = len(entra.asked)
    entra.service.entra_answer = None

    desk.clock.advance(pause_s - 0.5)
    assert evidence_of(desk.ask(bearer)).retry_after_s == 1
    assert len(entra.asked) == asked_count

    desk.clock.advance(0.6)
    assert desk.ask(bearer) == line_of(entra)


def test_a_date_to_wait_for(entra: Entra, desk: Desk) -> None:
    """`Retry-After` may be a date; one that cannot be read is none."""
    day = formatdate(time.time() + 86_400, usegmt=True)
    entra.service.entra_answer = Answer(503, b"", {"Retry-After": day})
    bearer = desk.bearer(entra.settings)
    wish_s = evidence_of(desk.ask(bearer)).retry_after_s
    assert wish_s is not None
    assert 86_000 < wish_s <= 86_400
    assert bearer._not_before_ms - desk.now_ms() == LIMITS.token_retry_after_s_max * 1_000

    entra.service.entra_answer = Answer(503, b"", {"Retry-After": "soon"})
    other = desk.bearer(entra.settings, audience("api://else"))
    assert evidence_of(desk.ask(other)).retry_after_s is None


def test_a_renewal_that_is_asked_to_wait(entra: Entra, desk: Desk) -> None:
    """While the token is good it goes out, and nobody asks before the time that was asked for."""
    bearer = desk.bearer(entra.settings)
    old = desk.ask(bearer)
    entra.service.entra_answer = Answer(429, b"{}", {"Retry-After": "45"})
    desk.clock.advance(LIFE_S / 2 + 1)
    assert bearer.line() == old
    desk.until(lambda: bearer._failure is not None)

    assert bearer._not_before_ms - desk.now_ms() == 45_000
    assert bearer.line() == old


@pytest.mark.parametrize(("renew_s", "due_s"), [(0, LIFE_S), (60, LIFE_S - 60), (200, LIFE_S / 2)])
def test_when_it_is_renewed_is_a_setting(
    entra: Entra, desk: Desk, renew_s: float, due_s: float
) -> None:
    """So long before its end, and never before half of its life is over."""
    desk.limit(token_renew_s=renew_s)
    bearer = desk.bearer(entra.settings)
    desk.ask(bearer)

    # What a slow machine takes to hand the token over is off its life.
    assert bearer._due_ms / 1_000 == pytest.approx(desk.now_ms() / 1_000 + due_s, abs=25)


def test_a_slow_answer(entra: Entra, desk: Desk) -> None:
    """Who waits too long is told so; the question goes on, and its answer serves the next."""
    entra.service.entra_answer = HANG
    bearer = desk.bearer(entra.settings)
    bearer.wait(5.0, desk.told.append)
    desk.until(lambda: entra.service.held_count == 1)
    desk.clock.advance(4.9)
    assert desk.told == []
    desk.clock.advance(0.2)

    found = evidence_of(desk.told[0])
    assert (found.fault, found.elapsed_ms) == (Fault.TIMED_OUT, 5_000)
    assert classify(found) == "EP3660"
    bearer.wait(30.0, desk.told.append)
    entra.service.release(entra.service.grant(AUDIENCE, APPLICATION))
    desk.until(lambda: len(desk.told) == 2)
    assert desk.told[1] == line_of(entra)
    assert len(entra.asked) == 1


def test_a_token_of_another_tenant(entra: Entra, desk: Desk) -> None:
    """A token that the webhook would refuse is not sent: a managed identity has only its own
    tenant's."""
    entra.service.tenant = OTHER_TENANT
    found = evidence_of(desk.ask(desk.bearer(entra.settings)))

    assert classify(found) == "EP3661"
    assert OTHER_TENANT in found.detail
    assert TENANT in found.detail


def test_a_secret_that_is_changed(entra: Entra, desk: Desk, tmp_path: Path) -> None:
    """A rotated secret is used by the next question, without a restart."""
    file = tmp_path / "secret"
    file.write_text("the first one")
    settings = EntraConnection(
        client_id=APPLICATION, client_secret=f"file:{file}", authority=entra.authority
    )
    bearer = desk.bearer(settings)
    desk.ask(bearer)

    file.write_text("the second one")
    desk.clock.advance(LIFE_S + 1)
    desk.ask(bearer)

    sent = [parse_qs(each.body.decode())["client_secret"] for each in entra.asked]
    assert sent == [["the first one"], ["the second one"]]


def test_a_secret_that_is_missing(
    entra: Entra, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked without it; the finding names it."""
    monkeypatch.delenv("ENTRA_TEST_SECRET")

    found = evidence_of(desk.ask(desk.bearer(entra.settings)))

    assert classify(found) == "EP4042"
    assert "ENTRA_TEST_SECRET" in found.detail
    assert entra.service.asked == []


def test_the_default_chain(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an application's secret the SDK finds who we are: here a managed identity."""
    with AzureIdentity() as service:
        for name, value in service.app_service().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")

        found = desk.ask(desk.bearer(EntraConnection()))

        assert found == f"Authorization: Bearer {service.tokens[-1]}\r\n".encode()
        asked = parse_qs(urlsplit(service.asked[-1].path).query)
        assert asked["resource"] == [AUDIENCE]
        sessions.close_all()


def test_a_token_is_never_shown(entra: Entra, desk: Desk) -> None:
    """Neither the token nor the secret is in what a log or a debugger prints of them."""
    bearer = desk.bearer(entra.settings)
    desk.ask(bearer)
    token = entra.service.tokens[-1]
    session = sessions.session(bearer._audience)

    shown = f"{bearer!r} {bearer._audience!r} {session!r} {session.fetch()!r} {session.report()!r}"

    assert token not in shown
    assert SECRET not in shown
    assert bearer.masked(f"you sent {token}") == "you sent ***"
