"""What Azure Storage refuses, through the real client: from the answer to the finding.

Azurite produces what it can. For the rest a server gives the answers of the real service, as its
documentation and people's reports have them; the source stands beside each.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from xml.sax.saxutils import escape

import msgspec
import pytest
from azure.storage.queue import (
    AccountSasPermissions,
    QueueSasPermissions,
    ResourceTypes,
    Services,
    generate_account_sas,
    generate_queue_sas,
)

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.diagnosis.classify import classify, explain
from eventpost.diagnosis.services.storagequeue import FINDINGS
from eventpost.queues.interfaces import Message
from eventpost.queues.storagequeue import StorageQueue
from eventpost.queues.storagequeue.account import leave, take
from eventpost.testing.receiver import Answer
from tests.queues.storagequeue.azure import (
    HELD,
    NO_MESSAGES,
    AzureHarness,
    Storage,
    queue_at,
    session_on,
)
from tests.services.azurite import KEY, OTHER_KEY, Azurite

DOCUMENTED = (
    "https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes",
    "https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes",
    "https://learn.microsoft.com/rest/api/storageservices/sas-error-codes",
)
pytestmark = [pytest.mark.slow, pytest.mark.cites(*DOCUMENTED)]
REQUEST_ID = "ad7a75b2-201e-0032-20d4-23e8a6000000"
HOUR = timedelta(hours=1)
READ_AT = datetime.now(UTC)

# --- the service as its documentation has it ------------------------------------------------------


def refusal(
    status: int, code: str, message: str, reason: str = "", *, clock: timedelta = timedelta()
) -> Answer:
    """An answer of the real service, byte order mark and headers included.

    The form is that of the answers in the sources named below.
    """
    now = datetime.now(UTC) + clock
    detail = f"<AuthenticationErrorDetail>{escape(reason)}</AuthenticationErrorDetail>"
    body = (
        f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>{escape(message)}\nRequestId:{REQUEST_ID}\n"
        f"Time:{now:%Y-%m-%dT%H:%M:%S.%f}0Z</Message>{detail if reason else ''}</Error>"
    )
    headers = {
        "Content-Type": "application/xml",
        "Server": "Windows-Azure-Queue/1.0 Microsoft-HTTPAPI/2.0",
        "x-ms-error-code": code,
        "x-ms-request-id": REQUEST_ID,
        "Date": format_datetime(now, usegmt=True),
    }
    return Answer(status, body.encode(), headers)


def fresh(answer: Answer) -> Answer:
    """An answer that was written when this module was read, as if it were given now: its `Date` is
    a clock that is compared with ours."""
    if "Date" not in answer.headers:
        return answer
    date = parsedate_to_datetime(answer.headers["Date"]) + (datetime.now(UTC) - READ_AT)
    return replace(answer, headers={**answer.headers, "Date": format_datetime(date, usegmt=True)})


NOT_AUTHENTICATED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is "
    "formed correctly including the signature."
)
SEE_HEADER = (
    "Server failed to authenticate the request. Please refer to the information in the "
    "www-authenticate header."
)
WRONG_MAC = (
    "The MAC signature found in the HTTP request 'CTiaVCveZMJ6Xkflf/3JV/UenxgQz5YB/bRxiPBdQ+0=' is "
    "not the same as any computed signature. Server used following string to sign: 'PUT\n\n"
    "Wed, 16 Dec 2020 08:13:37 GMT\n\nx-ms-version:2020-02-10\n/xiadasa/example'."
)
TIMES_OVER = (
    "Signature not valid in the specified time frame: Start [Thu, 09 Jul 2020 10:11:03 GMT] - "
    "Expiry [Thu, 09 Jul 2020 18:11:03 GMT] - Current [Fri, 10 Jul 2020 10:16:22 GMT]"
)
MANY_MINUTES = timedelta(minutes=-20)

# Codes and messages of "Common REST API error codes", "Queue Storage error codes" and "Shared
# access signature error codes" (learn.microsoft.com/rest/api/storageservices), unless said.
ANSWERS: dict[str, tuple[Answer, str, str]] = {
    # https://github.com/microsoft/AzureStorageExplorer/issues/8769
    "firewall": (
        refusal(
            403,
            "AuthorizationFailure",
            "This request is not authorized to perform this operation.",
        ),
        "AuthorizationFailure",
        "EP4201",
    ),
    # https://github.com/Azure/azure-sdk-for-java/issues/15008
    "wrong key": (
        refusal(403, "AuthenticationFailed", NOT_AUTHENTICATED, WRONG_MAC),
        "AuthenticationFailed",
        "EP4203",
    ),
    # https://github.com/Azure/azure-sdk-for-net/issues/42859
    "expired token": (
        refusal(
            401,
            "InvalidAuthenticationInfo",
            SEE_HEADER,
            "Lifetime validation failed. The token is expired.",
        ),
        "InvalidAuthenticationInfo/expired",
        "EP4204",
    ),
    # https://github.com/Azure/azure-sdk-for-java/issues/8667
    "expired token, 403": (
        refusal(
            403,
            "AuthenticationFailed",
            NOT_AUTHENTICATED,
            "Lifetime validation failed. The token is expired.",
        ),
        "AuthenticationFailed/expired",
        "EP4204",
    ),
    # "Authorize with Shared Key": older than 15 minutes
    "clock": (
        refusal(403, "AuthenticationFailed", NOT_AUTHENTICATED, clock=MANY_MINUTES),
        "AuthenticationFailed/clock",
        "EP4205",
    ),
    "clock, token": (
        refusal(401, "InvalidAuthenticationInfo", SEE_HEADER, clock=-MANY_MINUTES),
        "InvalidAuthenticationInfo/clock",
        "EP4205",
    ),
    # https://github.com/MicrosoftDocs/azure-docs/issues/11564
    "foreign token": (
        refusal(
            403,
            "AuthenticationFailed",
            NOT_AUTHENTICATED,
            "Issuer validation failed. Issuer did not match.",
        ),
        "AuthenticationFailed/token",
        "EP4207",
    ),
    "token for another service": (
        refusal(401, "InvalidAuthenticationInfo", SEE_HEADER, "Audience validation failed."),
        "InvalidAuthenticationInfo/token",
        "EP4207",
    ),
    "no credential": (
        refusal(401, "NoAuthenticationInformation", SEE_HEADER),
        "NoAuthenticationInformation",
        "EP4208",
    ),
    "public access": (
        refusal(
            409,
            "PublicAccessNotPermitted",
            "Public access is not permitted on this storage account.",
        ),
        "PublicAccessNotPermitted",
        "EP4208",
    ),
    "source address": (
        refusal(
            403,
            "AuthorizationSourceIPMismatch",
            "This request is not authorized to perform this operation using this source IP "
            "203.0.113.9.",
        ),
        "AuthorizationSourceIPMismatch",
        "EP4209",
    ),
    # https://github.com/Azure/AI-Landing-Zones/issues/64
    "keys forbidden": (
        refusal(
            403,
            "KeyBasedAuthenticationNotPermitted",
            "Key based authentication is not permitted on this storage account.",
        ),
        "KeyBasedAuthenticationNotPermitted",
        "EP4212",
    ),
    "disabled account": (
        refusal(403, "AccountIsDisabled", "The specified account is disabled."),
        "AccountIsDisabled",
        "EP4213",
    ),
    "disabled queue": (
        refusal(
            409, "QueueDisabled", "The specified queue has been disabled by the administrator."
        ),
        "QueueDisabled",
        "EP4213",
    ),
    "read only": (
        refusal(403, "InsufficientAccountPermissions", "Write operations are not allowed."),
        "InsufficientAccountPermissions",
        "EP4214",
    ),
    "being deleted": (
        refusal(409, "QueueBeingDeleted", "The specified queue is being deleted."),
        "QueueBeingDeleted",
        "EP4221",
    ),
    "container being deleted": (
        refusal(409, "ContainerBeingDeleted", "The specified container is being deleted."),
        "ContainerBeingDeleted",
        "EP4221",
    ),
    "no such account": (
        refusal(404, "ResourceNotFound", "The specified resource does not exist."),
        "ResourceNotFound",
        "EP4220",
    ),
    "too large": (
        refusal(400, "MessageTooLarge", "The message exceeds the maximum allowed size."),
        "MessageTooLarge",
        "EP4231",
    ),
    # https://github.com/Azure/azure-storage-python/issues/631
    "version": (
        refusal(
            400,
            "InvalidHeaderValue",
            "The value for one of the HTTP headers is not in the correct format.",
        ),
        "InvalidHeaderValue",
        "EP4232",
    ),
    # https://github.com/Azure/azure-sdk-for-net/issues/11358
    "no XML": (
        refusal(400, "InvalidXmlDocument", "XML specified is not syntactically valid."),
        "InvalidXmlDocument",
        "EP4233",
    ),
    # https://github.com/microsoft/vscode-azurestorage/issues/502
    "busy": (refusal(503, "ServerBusy", "The server is busy."), "ServerBusy", "EP4240"),
    # https://github.com/squigg/azure-queue-laravel/issues/6
    "timed out": (
        refusal(
            500,
            "OperationTimedOut",
            "Operation could not be completed within the specified time.",
        ),
        "OperationTimedOut",
        "EP4241",
    ),
    "internal": (
        refusal(
            500,
            "InternalError",
            "The server encountered an internal error. Please retry the request.",
        ),
        "InternalError",
        "EP4241",
    ),
    "unknown code": (
        refusal(
            409,
            "AccountBeingCreated",
            "The specified account is in the process of being created.",
        ),
        "AccountBeingCreated",
        "EP4200",
    ),
    "a portal's page": (
        Answer(403, b"<html><h1>Forbidden</h1></html>", {"Content-Type": "text/html"}),
        "NoErrorCode",
        "EP4260",
    ),
    "a gateway that asks who we are": (
        Answer(401, b"<html></html>", {"Content-Type": "text/html"}),
        "NoErrorCode",
        "EP4260",
    ),
    "a gateway that fails": (Answer(502), "NoErrorCode", "EP4260"),
}


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as storage:
        yield storage


@pytest.fixture
def harness(azurite: Azurite) -> Iterator[AzureHarness]:
    with AzureHarness(azurite) as harness:
        yield harness


Operation = Callable[[StorageQueue], object]

OPERATIONS: dict[str, Operation] = {
    "send": lambda queue: queue.send([Message(body=b"")])[0],
    "receive": lambda queue: queue.receive(1, 0.0, 30.0),
    "extend": lambda queue: queue.extend([HELD], 30.0)[0],
    "settle": lambda queue: queue.settle([HELD])[0],
    "release": lambda queue: queue.release([HELD], 0.0)[0],
}


def refused(answer: object) -> Evidence:
    """The evidence of what must have failed. It never holds a key or a signature."""
    assert isinstance(answer, Failed), answer
    written = msgspec.json.encode(answer.evidence).decode()
    assert KEY not in written
    assert OTHER_KEY not in written
    assert "sig=" not in written
    assert "CTiaVCveZMJ6Xkflf" not in written
    return answer.evidence


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("answer", "code", "finding"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_the_service_answers(
    storage: Storage, answer: Answer, code: str, finding: str, operation: str
) -> None:
    """Each refusal of the real service has its finding, whatever was asked for, and is told once,
    at once: the SDK does not try again behind our back."""
    storage.always = fresh(answer)
    queue = queue_at(storage.session(), "jobs")

    found = refused(OPERATIONS[operation](queue))

    assert (found.code, classify(found)) == (code, finding)
    assert found.stage is Stage.ANSWER
    assert found.status == answer.status
    assert (found.system, found.operation) == ("storagequeue", operation)
    assert found.credential == "connection_string"
    assert found.address == f"127.0.0.1:{storage.port}"
    assert found.request_id == (REQUEST_ID if answer.headers.get("x-ms-error-code") else None)
    assert len(storage.asked) == 1
    assert explain(found).fix
    queue.close()


def test_only_what_can_never_go_is_final(storage: Storage) -> None:
    """A message is given up for what it is, and never for what the account is like just now."""
    finals = set()
    for answer, code, _ in ANSWERS.values():
        storage.always = fresh(answer)
        queue = queue_at(storage.session(), "jobs")
        [outcome] = queue.send([Message(body=b"")])
        queue.close()
        assert isinstance(outcome, Failed)
        if outcome.final:
            finals.add(code)

    assert finals == {"MessageTooLarge", "InvalidXmlDocument"}


def test_the_firewall_is_told_from_a_role(storage: Storage) -> None:
    """`AuthorizationFailure` names the network first; what the same credential was served a moment
    ago, and at which kind of address, is told with it."""
    storage.script(NO_MESSAGES)
    storage.always = fresh(ANSWERS["firewall"][0])
    queue = queue_at(storage.session(), "jobs")
    assert queue.receive(1, 0.0, 30.0) == []

    found = refused(queue.settle([HELD])[0])

    assert "reached at a private address" in found.detail
    assert "The same credential was served: receive 0 s ago." in found.detail
    explanation = explain(found)
    assert "firewall" in explanation.cause
    assert "no matter of roles" in explanation.cause
    assert "role" not in explanation.fix
    queue.close()


def test_the_address_that_the_service_saw(storage: Storage) -> None:
    """A SAS for other addresses: the address that the service saw stands in the evidence."""
    storage.always = fresh(ANSWERS["source address"][0])
    sas = "sv=2024-11-04&sp=p&sip=198.51.100.0-198.51.100.9&sig=secret"
    queue = queue_at(storage.session(sas=sas), "jobs")

    found = refused(queue.receive(1, 0.0, 30.0))

    assert "203.0.113.9" in found.detail
    assert "for 198.51.100.0-198.51.100.9" in found.detail
    queue.close()


def test_the_signature_is_not_repeated(storage: Storage) -> None:
    """The service repeats the signature that it refuses, and what it should sign; we do not."""
    storage.always = fresh(ANSWERS["wrong key"][0])
    queue = queue_at(storage.session(), "jobs")

    found = refused(queue.receive(1, 0.0, 30.0))

    assert "MAC signature found in the HTTP request '...' is not the same" in found.detail
    assert "string to sign" not in found.detail
    queue.close()


@pytest.mark.parametrize(
    ("skew", "told"),
    [
        (timedelta(minutes=10), "10 minutes ahead of"),
        (timedelta(minutes=-10), "10 minutes behind"),
        (timedelta(minutes=2), ""),
    ],
)
def test_clocks_that_are_apart(storage: Storage, skew: timedelta, told: str) -> None:
    """A signature that is refused while the clocks are apart is a matter of the clock; how far, and
    in which direction, is told. Two minutes explain nothing."""
    storage.always = refusal(403, "AuthenticationFailed", NOT_AUTHENTICATED, clock=-skew)
    queue = queue_at(storage.session(), "jobs")

    found = refused(queue.receive(1, 0.0, 30.0))

    assert classify(found) == ("EP4205" if told else "EP4203")
    assert (told in found.detail) if told else ("clock" not in found.detail)
    queue.close()


# --- what Azurite refuses -------------------------------------------------------------------------


def sas(harness: AzureHarness, permissions: str = "raup", **named: Any) -> str:
    """A SAS of the queue. Times are relative to now."""
    now = datetime.now(UTC)
    begins, ends = named.pop("begins", -HOUR), named.pop("ends", HOUR)
    return generate_queue_sas(
        harness.azurite.account,
        harness.name,
        KEY,
        permission=QueueSasPermissions.from_string(permissions),
        start=now + begins,
        expiry=now + ends,
        **named,
    )


def account_sas(harness: AzureHarness, services: Services, types: ResourceTypes) -> str:
    return generate_account_sas(
        harness.azurite.account,
        KEY,
        types,
        AccountSasPermissions(read=True, process=True),
        datetime.now(UTC) + HOUR,
        services=services,
    )


def with_sas(harness: AzureHarness, sas: str) -> StorageQueue:
    return harness.at(session_on(harness.azurite, sas=sas))


def test_a_wrong_key(harness: AzureHarness) -> None:
    """A key that is not the account's."""
    queue = harness.at(session_on(harness.azurite, key=OTHER_KEY))

    found = refused(queue.receive(1, 0.0, 30.0))

    assert classify(found) == "EP4203"
    assert found.status == 403


def test_a_key_that_is_none(harness: AzureHarness) -> None:
    """A key that is not even base64 is told before anything is sent."""
    queue = harness.at(session_on(harness.azurite, key="a-secret-that-is-no-base64"))

    found = refused(queue.receive(1, 0.0, 30.0))

    assert (found.stage, classify(found)) == (Stage.CREDENTIALS, "EP4617")
    assert "a-secret-that" not in found.detail


def test_an_expired_sas(harness: AzureHarness) -> None:
    """A SAS whose time is over: until when it was good is told."""
    ends = datetime.now(UTC) - HOUR

    found = refused(
        with_sas(harness, sas(harness, begins=-2 * HOUR, ends=-HOUR)).receive(1, 0.0, 30.0)
    )

    assert (found.code, classify(found)) == ("AuthenticationFailed/expired", "EP4204")
    assert f"until {ends:%Y-%m-%dT%H}" in found.detail


def test_a_sas_of_tomorrow(harness: AzureHarness) -> None:
    """A SAS that is not valid yet, while the clocks agree."""
    found = refused(
        with_sas(harness, sas(harness, begins=HOUR, ends=2 * HOUR)).receive(1, 0.0, 30.0)
    )

    assert (found.code, classify(found)) == ("AuthenticationFailed/early", "EP4206")


def test_a_sas_made_with_a_clock_that_is_ahead(
    harness: AzureHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that is ten minutes ahead a fresh SAS is not valid yet for the service: that is
    told as a wrong clock, and by how much."""
    ahead = timedelta(minutes=10)
    made = sas(harness, begins=ahead - timedelta(seconds=30))
    session = session_on(harness.azurite, sas=made)
    monkeypatch.setattr(take(session), "_now_s", lambda: (datetime.now(UTC) + ahead).timestamp())

    found = refused(harness.at(session).receive(1, 0.0, 30.0))

    leave(session)
    assert (found.code, classify(found)) == ("AuthenticationFailed/clock", "EP4205")
    assert "10 minutes ahead of" in found.detail


def test_a_sas_that_was_changed(harness: AzureHarness) -> None:
    """A SAS whose permissions were edited does not fit its signature any more."""
    changed = sas(harness, "r").replace("sp=r", "sp=raup")

    found = refused(with_sas(harness, changed).receive(1, 0.0, 30.0))

    assert classify(found) == "EP4203"


LACKING = [
    ("send", "rup", "a", "Storage Queue Data Message Sender"),
    ("receive", "rau", "p", "Storage Queue Data Message Processor"),
    ("settle", "rau", "p", "Storage Queue Data Message Processor"),
    ("extend", "rap", "u", "Storage Queue Data Contributor"),
    ("release", "rap", "u", "Storage Queue Data Contributor"),
]


@pytest.mark.parametrize(("operation", "permissions", "missing", "role"), LACKING)
def test_a_sas_without_a_permission(
    harness: AzureHarness, operation: str, permissions: str, missing: str, role: str
) -> None:
    """A SAS that lacks one permission is refused exactly that, and the least role and the letter
    are named; the other operations work."""
    harness.plain.send_message("a song")
    queue = with_sas(harness, sas(harness, permissions))

    found = refused(OPERATIONS[operation](queue))

    assert (found.code, classify(found)) == ("AuthorizationPermissionMismatch", "EP4202")
    assert f"takes the role {role}, or {missing} in a SAS." in found.detail
    for other, letter in (("send", "a"), ("receive", "p")):
        assert isinstance(OPERATIONS[other](queue), Failed) is (letter not in permissions)


def test_a_sas_for_https(harness: AzureHarness) -> None:
    """A SAS that allows https only, over http."""
    found = refused(with_sas(harness, sas(harness, protocol="https")).receive(1, 0.0, 30.0))

    assert (found.code, classify(found)) == ("AuthorizationProtocolMismatch", "EP4210")
    assert "over https" in found.detail


@pytest.mark.parametrize(
    ("services", "types", "code"),
    [
        (Services(blob=True), ResourceTypes(object=True), "AuthorizationServiceMismatch"),
        (Services(queue=True), ResourceTypes(service=True), "AuthorizationResourceTypeMismatch"),
    ],
)
def test_an_account_sas_for_something_else(
    harness: AzureHarness, services: Services, types: ResourceTypes, code: str
) -> None:
    """An account SAS without the queue service, or without messages."""
    credential = account_sas(harness, services, types)

    found = refused(with_sas(harness, credential).receive(1, 0.0, 30.0))

    assert (found.code, classify(found)) == (code, "EP4211")


def test_a_missing_queue(harness: AzureHarness) -> None:
    """A queue that is not there."""
    found = refused(harness.missing_queue().receive(1, 0.0, 30.0))

    assert (found.code, found.status, classify(found)) == ("QueueNotFound", 404, "EP4220")


def raw(harness: AzureHarness, call: Callable[[Any], object], name: str = "") -> Evidence:
    """What the service says to a request that our own code would not make."""
    queue = harness.new_queue()
    calls = queue._opened("send")
    assert not isinstance(calls, Failed)
    account = calls.account
    client = account.queues().get_queue_client(name or harness.name)
    return refused(account.request("send", calls.new_progress(), lambda: call(client)))


RAW: dict[str, tuple[Callable[[Any], object], str, str]] = {
    "stale receipt": (
        lambda client: client.delete_message(client.send_message("x").id, "AgAAAAMAAAAAAAAA"),
        "PopReceiptMismatch",
        "EP4222",
    ),
    "gone": (
        lambda client: client.delete_message(HELD.id, "AgAAAAMAAAAAAAAA"),
        "MessageNotFound",
        "EP4223",
    ),
    "eight days": (
        lambda client: client.send_message("x", visibility_timeout=691_200, time_to_live=-1),
        "OutOfRangeQueryParameterValue",
        "EP4230",
    ),
    "delay beyond the time to live": (
        lambda client: client.send_message("x", visibility_timeout=60, time_to_live=60),
        "InvalidQueryParameterValue",
        "EP4230",
    ),
    "64 KiB and one byte": (
        lambda client: client.send_message("x" * 65_537),
        "RequestBodyTooLarge",
        "EP4231",
    ),
}


@pytest.mark.parametrize(("call", "code", "finding"), RAW.values(), ids=RAW.keys())
def test_what_other_programs_meet(
    harness: AzureHarness, call: Callable[[Any], object], code: str, finding: str
) -> None:
    """What we avoid or take for an answer has a finding too, for whoever asks what it means."""
    found = raw(harness, call)

    assert (found.code, classify(found)) == (code, finding)


@pytest.mark.parametrize(
    ("name", "code"), [("Not_A_Queue", "InvalidResourceName"), ("ab", "OutOfRangeInput")]
)
def test_an_impossible_name(harness: AzureHarness, name: str, code: str) -> None:
    """A name that breaks the rules, as the service sees it."""
    found = raw(harness, lambda client: client.peek_messages(), name)

    assert (found.code, classify(found)) == (code, "EP4234")


def test_every_code_is_text(harness: AzureHarness) -> None:
    """Codes that the SDK knows are members of an enumeration there, others are text; here all are
    text."""
    for evidence in (
        refused(harness.missing_queue().receive(1, 0.0, 30.0)),
        refused(with_sas(harness, sas(harness, "r")).receive(1, 0.0, 30.0)),
    ):
        assert type(evidence.code) is str
        assert evidence.fault is Fault.CODE


def test_every_code_of_the_table_is_tried() -> None:
    """Every row of the table of findings is produced by a test of this file or of claim checks."""
    here = {code for _, code, _ in (*ANSWERS.values(), *RAW.values())}
    here |= {
        *("", "InvalidAuthenticationInfo"),  # the adapter says more; whoever pastes it may not
        *("AuthenticationFailed/early", "AuthorizationPermissionMismatch", "QueueNotFound"),
        *("AuthorizationProtocolMismatch", "AuthorizationServiceMismatch"),
        *("AuthorizationResourceTypeMismatch", "InvalidResourceName", "OutOfRangeInput"),
        *("BlobNotFound", "ContainerNotFound", "ClaimCheckDamaged"),
    }

    assert set(FINDINGS) - here == set()
