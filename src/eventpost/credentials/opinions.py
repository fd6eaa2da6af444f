"""What AWS itself says of keys that a service refuses without a reason, and of the clock here.

Layer: credentials. Amazon MSK answers "Access denied" whatever is wrong with a token. AWS's
Security Token Service tells keys that expired from keys that it does not know, needs no permission
to say who somebody is, and writes its time on every answer: a clock may be too wrong for a broker
(5 minutes) and good enough for STS (15).
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from eventpost.core.outcomes import Evidence, Fault, Stage
from eventpost.credentials import aws
from eventpost.credentials.aws_evidence import SYSTEM, evidence_of
from eventpost.credentials.aws_session import Frozen, new_session
from eventpost.credentials.aws_settings import AwsConnection, Keys
from eventpost.credentials.reports import shortened, shown

SKEW_S_MAX = 240.0
"""Brokers take tokens of clocks that are wrong by up to 300 s."""
ASK_S = 30.0
"""How long an opinion holds, and the time between two questions."""
CONNECT_S_MAX = 2.0
ANSWER_S_MAX = 3.0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What came of a question."""

    detail: str
    evidence: Evidence | None = None
    """What is wrong with keys or clock; None: AWS finds nothing wrong, or could not be asked."""


class SecondOpinion:
    """Of the keys of one session. Any thread; nobody waits for an answer."""

    def __init__(
        self,
        session: aws.Session,
        region: str,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._region = region
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._asked: tuple[int, str, float] | None = None
        """By which process, about whose keys ("" while that is not known), and when."""
        self._given: tuple[str, float, Opinion] | None = None

    def ask(self) -> None:
        """A service refused the keys. Begins a question on a thread of its own, at most one in
        `ASK_S` about the same keys, and returns at once."""
        whose, now_s = self._session.report().identity, self._monotonic_s()
        with self._lock:
            if self._asked is not None:
                process, of, at_s = self._asked
                is_same = whose == of or "" in (whose, of)
                if process == os.getpid() and is_same and now_s - at_s < ASK_S:
                    return
            self._asked = (os.getpid(), whose, now_s)
        threading.Thread(target=self._run, args=(whose,), name="eventpost-sts", daemon=True).start()

    @property
    def present(self) -> Opinion | None:
        """What was said last; None while nothing was of these keys, or it is too long ago."""
        given = self._given
        if given is None or self._session.report().identity not in ("", given[0]):
            return None
        return None if self._monotonic_s() - given[1] >= 2 * ASK_S else given[2]

    def _run(self, whose: str) -> None:
        try:
            keys, _ = self._session.frozen()
            whose = shortened(keys.access_key)
            self._asked = (os.getpid(), whose, self._monotonic_s())
            opinion = opinion_of(keys, self._region)
        except Exception as error:  # noqa: BLE001 - the border: what nobody foresaw is no opinion
            opinion = _unasked(error)
        self._given = (whose, self._monotonic_s(), opinion)


_of_sessions: "weakref.WeakKeyDictionary[aws.Session, SecondOpinion]" = weakref.WeakKeyDictionary()


def of(session: aws.Session, region: str) -> SecondOpinion:
    """The one of this session, however many queues use it."""
    return _of_sessions.setdefault(session, SecondOpinion(session, region))


def opinion_of(keys: Frozen, region: str) -> Opinion:
    """Ask STS who these keys are. Blocks for `CONNECT_S_MAX` and `ANSWER_S_MAX` at most."""
    from botocore.config import Config

    session = new_session(
        AwsConnection(region=region), Keys(keys.access_key, keys.secret_key, keys.token or "")
    )
    client = session.create_client(
        "sts",
        config=Config(
            connect_timeout=CONNECT_S_MAX,
            read_timeout=ANSWER_S_MAX,
            retries={"total_max_attempts": 1},
        ),
    )
    try:
        answer = client.get_caller_identity()
    except Exception as error:  # noqa: BLE001 - the border: what botocore raises is an opinion
        return _refused(error)
    finally:
        client.close()
    return _skewed(answer) or Opinion(f"AWS knows the keys as {answer.get('Arn')}")


def _refused(error: Exception) -> Opinion:
    response = getattr(error, "response", None)
    skewed = _skewed(response) if isinstance(response, dict) else None
    evidence = evidence_of(error, "connect")
    if skewed is not None:
        return skewed
    if evidence is None:
        return _unasked(error)
    return Opinion(f"AWS says: {evidence.detail}", evidence)


def _unasked(error: Exception) -> Opinion:
    return Opinion(f"AWS could not be asked about the keys: {shown(str(error))}")


def _skewed(answer: Mapping[str, Any]) -> Opinion | None:
    """When this machine's clock is too far from that of the answer."""
    from botocore.auth import get_current_datetime  # the clock that signs

    written = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        theirs_s = parsedate_to_datetime(written).timestamp()
    except ValueError:
        return None  # a proxy in between wrote none, or nonsense
    ahead_s = get_current_datetime().replace(tzinfo=UTC).timestamp() - theirs_s
    if abs(ahead_s) <= SKEW_S_MAX:
        return None
    side = "ahead of" if ahead_s > 0 else "behind"
    detail = f"the clock here is {abs(ahead_s):.0f} s {side} AWS's"
    evidence = Evidence(
        stage=Stage.CREDENTIALS,
        fault=Fault.REFUSED,
        system=SYSTEM,
        operation="connect",
        code="ClockSkewed",
        detail=detail,
    )
    return Opinion(detail, evidence)
