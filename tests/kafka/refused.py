"""Keys and clocks that an Amazon MSK refuses, and how each is mended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import botocore.auth
import pytest

from eventpost.testing.aws_identity import AwsIdentity, refusal
from tests.services.kafka import IamKey, Kafka

SKEW_S = 600.0


@dataclass
class Machine:
    """Where a program runs: a file with its keys, a clock, and AWS's STS beside it."""

    kafka: Kafka
    sts: AwsIdentity
    keys_file: Path
    ahead_s: float = 0.0
    """How wrong the clock is with which requests are signed."""
    keys: list[IamKey] = field(default_factory=list)

    def sign_in(self) -> None:
        """New keys, which the brokers know."""
        self.keys.append(self.kafka.add_key(session_token="a session token"))
        key = self.keys[-1]
        self.keys_file.write_text(
            f"[default]\naws_access_key_id={key.access_key_id}\n"
            f"aws_secret_access_key={key.secret_access_key}\n"
            f"aws_session_token={key.session_token}\n"
        )

    # --- what goes wrong --------------------------------------------------------------------------

    def expire(self) -> None:
        self.kafka.revoke(self.keys[-1])
        text = "The security token included in the request is expired"
        self.sts.caller_refusal = refusal("ExpiredToken", text, 403)

    def renew(self) -> None:
        self.sts.caller_refusal = None
        self.sign_in()

    def set_clock(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s


@dataclass(frozen=True)
class Fault:
    """What goes wrong, what it is to be called, and how it is mended."""

    code: str
    begin: Callable[[Machine], None]
    mend: Callable[[Machine], None]


FAULTS = {
    "session token expired": Fault("EP4511", Machine.expire, Machine.renew),
    "clock ten minutes ahead": Fault(
        "EP4519", lambda it: it.set_clock(SKEW_S), lambda it: it.set_clock(0.0)
    ),
}


@contextmanager
def machine(kafka: Kafka, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    with AwsIdentity() as sts:
        made = Machine(kafka, sts, folder / "credentials")
        for name, value in sts.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(made.keys_file))
        monkeypatch.setattr(
            botocore.auth,
            "get_current_datetime",
            lambda: datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=made.ahead_s),
        )
        made.sign_in()
        yield made
