"""Kafka clients that ask for tokens on threads of their own do not end the process."""

import gc
import subprocess
import sys
import threading

import pytest

from eventpost.credentials.uncollected import UNCOLLECTED

ABANDONED = """
import gc
import threading
import time

from types import SimpleNamespace
import sys

from confluent_kafka import Producer

from eventpost.credentials.msk import MSKTokenProvider
from eventpost.queues.kafka.tokens import Tokens

asked, is_abandoned = threading.Event(), threading.Event()
settings = {"bootstrap.servers": "127.0.0.1:9", "log_level": 0}


class Provider(MSKTokenProvider):
    def __init__(self):
        pass

    def current(self):
        if not is_abandoned.is_set():  # the first one is fetched while the client is made
            return SimpleNamespace(value="token", expires_s=time.time() + 2)
        kept = [[each] for each in range(1_000_000)]  # enough for a collection
        asked.set()
        return SimpleNamespace(value="token", expires_s=4e9)


provider = Provider()
asking = {"provider": provider, "queue": Tokens(provider, time.monotonic)}[sys.argv[1]]


gc.collect()
gc.disable()  # so that it is still young when its thread collects
abandoned = [
    Producer(
        settings
        | {
            "security.protocol": "sasl_plaintext",
            "sasl.mechanisms": "OAUTHBEARER",
            "oauth_cb": asking.oauth_cb,
        }
    )
]
abandoned.append(abandoned)
del abandoned
gc.enable()
is_abandoned.set()
assert asked.wait(100)
print("alive")
"""


@pytest.mark.slow
@pytest.mark.parametrize("asking", ["provider", "queue"])
def test_an_abandoned_client_does_not_end_the_process(asking: str) -> None:
    """A client that lies in a cycle is not destroyed by its own thread, which asks for a token just
    then: librdkafka would end the process for that."""
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED, asking], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_collection_goes_on_afterwards() -> None:
    """However many are in at once, the last one out lets collections go on."""
    inside, may_leave = threading.Event(), threading.Event()

    def work() -> None:
        with UNCOLLECTED:
            inside.set()
            may_leave.wait()

    other = threading.Thread(target=work)
    with UNCOLLECTED:
        other.start()
        inside.wait()
        found = [gc.isenabled()]
    found.append(gc.isenabled())
    may_leave.set()
    other.join()
    found.append(gc.isenabled())

    assert found == [False, False, True]


def test_what_was_off_stays_off() -> None:
    """A program that collects by itself is left alone."""
    gc.disable()
    try:
        with UNCOLLECTED:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
