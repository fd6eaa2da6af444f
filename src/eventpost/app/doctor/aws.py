"""The ladder of an AWS account: who we are by the SDK's own chain, and whether AWS knows us.

Layer: app. The network is looked at by who uses a service: an account has no address of its own,
and STS need not be reachable.
"""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from eventpost.app.doctor.settled import faulty, settings
from eventpost.core.errors import EventpostError
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.credentials import aws, aws_links
from eventpost.credentials.aws_evidence import OUT_OF_REACH
from eventpost.credentials.aws_failures import failure, with_detail
from eventpost.credentials.aws_session import check_region, region_in_words
from eventpost.credentials.reports import Report
from eventpost.diagnosis.doctor import steps
from eventpost.diagnosis.doctor.bounds import BOUNDS, CREDENTIALS_WARNING_S
from eventpost.diagnosis.doctor.climbing import Look
from eventpost.diagnosis.doctor.ladder import Seen, Unknown, Warned
from eventpost.diagnosis.doctor.network import Peer, look_up, try_to_connect

CREDENTIALS_END = "EP6005"
ANSWER_S = 4.0
"""For STS: it is a second opinion, and a network without a way to it is none of our business."""
WALK_S = 4.0
"""Credentials that take longer are looked at from beside: the SDK gives STS minutes to answer."""
LINKS_OF_STS = frozenset({"assume-role", "assume-role-with-web-identity"})
"""What the SDK calls the links of its chain that ask STS for keys."""


def connection_steps(connection: aws.AwsConnection) -> list[tuple[str, Look]]:
    """Settings, credentials, the clock, and what STS says of the keys."""
    session = aws.session(connection)

    def peers() -> Sequence[Peer]:
        return [endpoint_of(session, "sts")]

    is_tls = not connection.endpoint_url.startswith("http:")
    return [
        ("settings", settings(lambda: _settings(connection))),
        ("credentials", credentials(session)),
        ("clock", _clock(session, peers, is_tls=is_tls)),
        ("authentication", _authentication(session)),
    ]


def _settings(connection: aws.AwsConnection) -> str:
    if connection.has_keys:
        connection.keys()
    told = [_region(connection)]
    if connection.endpoint_url:
        told.append(f"endpoint {aws.session(connection).report().endpoint}")
    told.append("keys are given" if connection.has_keys else "the SDK finds the credentials")
    return ", ".join(told)


def _clock(session: aws.Session, peers: steps.Peers, *, is_tls: bool) -> Look:
    """Without a region there is nobody to ask: who uses the account says so."""

    def look() -> Seen:
        if isinstance(endpoint(session, "sts")(), Failed):
            return Unknown("nothing says in which region this account is used")
        return steps.clock(peers, is_tls=is_tls)()

    return look


def _region(connection: aws.AwsConnection) -> str:
    """Raises InvalidRequest for a region that is none."""
    region = connection.region
    if not region or connection.endpoint_url:
        return f"region {region}" if region else "the SDK finds the region"
    try:
        check_region(region)
        return region_in_words(region)
    except EventpostError:
        raise
    except Exception:  # noqa: BLE001 - no session by this environment: the next rung tells why
        return f"region {region}"


def endpoint(session: aws.Session, service: str) -> Look:
    """Where the service is: what the SDK makes of region and settings."""

    def look() -> Seen:
        try:
            return f"{service} is at {endpoint_of(session, service)}"
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            link = session.report().link
            return Failed(failure(error, "probe", system="aws", credential=link))

    return look


def credentials(session: aws.Session) -> Look:
    """Which link of the chain answers; when none does, what each of them says."""

    def look() -> Seen:
        try:
            expires_s = _walked(session)
        except EventpostError as error:
            return faulty(error)  # a secret that cannot be read, an extra that is missing
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            return _no_credentials(error)
        if isinstance(expires_s, Failed):
            return expires_s
        return judged(session.report(), expires_s, time.time())

    return look


def _walked(session: aws.Session) -> float | Failed | None:
    """When the keys expire that the chain gives. Raises what the walk raises."""
    expires: Future[float | None] = Future()

    def walk() -> None:
        try:
            expires.set_result(session.frozen()[1])
        except Exception as error:  # noqa: BLE001 - whoever waits for it raises it
            expires.set_exception(error)

    threading.Thread(target=walk, name="eventpost-doctor-credentials", daemon=True).start()
    try:
        return expires.result(WALK_S)
    except TimeoutError:
        return _out_of_reach(session) or expires.result()


def _out_of_reach(session: aws.Session) -> Failed | None:
    """That STS, which the chain waits for, cannot be reached from here; None when that is not why
    the chain takes long, or cannot be known because a proxy lies between."""
    link = session.report().link
    if link not in LINKS_OF_STS:
        return None
    peer = endpoint_of(session, "sts")
    if "https" in getproxies() and not proxy_bypass(peer.host):
        return None
    named = look_up(peer, BOUNDS)
    way = named if isinstance(named, Failed) else try_to_connect(peer, BOUNDS)
    if not isinstance(way, Failed):
        return None
    why = way.evidence
    return Failed(
        Evidence(
            stage=Stage.CREDENTIALS,
            fault=Fault.UNAVAILABLE,
            elapsed_ms=why.elapsed_ms,
            address=why.address,
            system="aws",
            operation="probe",
            code=OUT_OF_REACH,
            credential=link,
            detail=f"{peer} cannot be reached: {why.stage.value} {why.fault.value}.",
        )
    )


def _no_credentials(error: Exception) -> Failed:
    evidence = failure(error, "probe", system="aws")
    said = aws_links.told(aws_links.links(os.environ))
    return Failed(with_detail(evidence, f"The links of the chain: {said}."))


def judged(report: Report, expires_s: float | None, now_s: float) -> Seen:
    """Who answered and until when. Pure."""
    who = f"{report.link} ({report.identity})" if report.identity else report.link
    before = aws_links.before(report.link)
    passed = f"; passed over: {', '.join(before)}" if before else ""
    if expires_s is None:
        return f"{who}, without an end that is known{passed}"
    until = datetime.fromtimestamp(expires_s, UTC)
    renewed = "renewed before that" if report.is_renewed else "not renewed"
    told = f"{who}, until {until:%Y-%m-%dT%H:%M:%SZ} ({renewed}){passed}"
    if not report.is_renewed and expires_s - now_s < CREDENTIALS_WARNING_S:
        return Warned(code=CREDENTIALS_END, detail=told)
    return told


def _authentication(session: aws.Session) -> Look:
    def look() -> Seen:
        try:
            answer = session.request(
                "sts",
                "get_caller_identity",
                wait_s=ANSWER_S - session.settings.request_timeout_s,
                attempts_max=1,
            )
            return f"AWS knows us as {answer.get('Arn')}"
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            evidence = failure(error, "probe", system="sts", credential=session.report().link)
        if evidence.stage is Stage.CREDENTIALS:
            return Failed(evidence)
        return Unknown(f"STS did not say who we are ({evidence.detail or evidence.fault.value})")

    return look


def endpoint_of(session: aws.Session, service: str) -> Peer:
    """Where the calls of a service go. Raises InvalidRequest or what botocore raises."""
    url = session.client(service).meta.endpoint_url
    parts = urlsplit(url)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    if not parts.hostname:
        raise EventpostError("InvalidUrl", f"The endpoint {url} names no host.")
    return Peer(parts.hostname, port)
