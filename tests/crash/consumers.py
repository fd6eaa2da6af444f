"""Consumers and publishers of a pulled subscription that outlive the program they speak to.

Each is a thread that goes on until it is told to stop; a broken connection is what they expect.
"""

import http.client
import json
import random
import threading
import time
from collections import Counter
from typing import Any

from tests.crash.program import Program

TOPIC, NAME = "songs", "pulled"
LOCK_S = 2.0
CONSUMERS = 3
PAUSE_S = 0.02
BATCH = "application/cloudevents-batch+json"
OPERATION = f"/topics/{TOPIC}/eventsubscriptions/{NAME}"


class Consumers:
    """What all of them know together."""

    def __init__(self, program: Program, seed: int) -> None:
        self._program = program
        self._draw = random.Random(seed)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._number = 0
        self.key = ""
        self.published: set[str] = set()
        """Answered with 200."""
        self.received: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        """Their tokens were told to have succeeded."""
        self.returned: set[str] = set()
        """Received though acknowledged before: never."""
        self.lost_tokens = 0

    def prepare(self) -> None:
        with self._program.client() as client:
            client.create_topic(TOPIC, input_schema="cloudeventschemav1_0")
            client.create_subscription(
                {
                    "name": NAME,
                    "topic": TOPIC,
                    "endpointType": "pull",
                    "receiveLockDurationInSeconds": LOCK_S,
                }
            )
            self.key = client.list_keys(TOPIC).key1

    def start(self) -> None:
        self._stopping.clear()
        works = [self._publish, *[self._consume] * CONSUMERS]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    # --- one of them ------------------------------------------------------------------------------

    def post(self, path: str, body: object = None, *, kind: str = "application/json") -> Any:
        """The answer of 200; None when the program is gone, or refuses for now."""
        connection = http.client.HTTPConnection("127.0.0.1", self._program.port, timeout=120)
        headers = {"aeg-sas-key": self.key, "Content-Type": kind}
        content = b"" if body is None else json.dumps(body).encode()
        try:
            connection.request("POST", path, content, headers)
            answer = connection.getresponse()
            found = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        assert answer.status in (200, 503), (answer.status, found)
        return json.loads(found) if answer.status == 200 else None

    def _publish(self) -> None:
        while not self._stopping.is_set():
            count = self._draw.randint(1, 10)
            ids = [f"event-{self._number + index}" for index in range(count)]
            self._number += count
            events = [
                {"specversion": "1.0", "id": each, "source": "/s", "type": "t"} for each in ids
            ]
            if self.post(f"/topics/{TOPIC}:publish", events, kind=BATCH) is not None:
                self.published.update(ids)
            time.sleep(PAUSE_S)

    def _consume(self) -> None:
        draw = random.Random(self._draw.random())
        while not self._stopping.is_set():
            if self.consume(draw, wait_s=1) == 0:
                time.sleep(PAUSE_S)

    def consume(self, draw: random.Random | None, *, wait_s: int) -> int:
        """One receive and what follows; how many events came. Without `draw` all of them are
        acknowledged."""
        count = 100 if draw is None else draw.randint(1, 20)
        received = self.post(f"{OPERATION}:receive?maxEvents={count}&maxWaitTime={wait_s}")
        if not received or not received["value"]:
            return 0
        ids = {}
        for each in received["value"]:
            ids[each["brokerProperties"]["lockToken"]] = each["event"]["id"]
        with self._lock:
            self.received.update(ids.values())
            self.returned.update(self.acknowledged.intersection(ids.values()))
        if draw is None:
            self._settle("acknowledge", ids)
            return len(ids)
        for token in list(ids):
            action = draw.choice(("acknowledge", "acknowledge", "release", "renewLock", "forget"))
            if action != "forget":
                self._settle(action, {token: ids[token]})
        return len(ids)

    def _settle(self, action: str, ids: dict[str, str]) -> None:
        answer = self.post(f"{OPERATION}:{action}", {"lockTokens": list(ids)})
        if answer is None:
            return
        with self._lock:
            self.lost_tokens += len(answer["failedLockTokens"])
            if action == "acknowledge":
                self.acknowledged.update(ids[each] for each in answer["succeededLockTokens"])
