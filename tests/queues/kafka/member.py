"""A member of a group, for tests that kill it: tells what it takes and what it has settled.

    python -m tests.queues.kafka.member '{"bootstrap": ..., "topic": ..., "options": {...}}'

`release_s`: what is taken for the first time is released with that delay. `stop_at`: it stands
still for good just before its first `commit` or after its first `append`.
"""

import json
import sys
import time

from eventpost.core.outcomes import Failed
from eventpost.queues.interfaces import Address, Settled
from eventpost.queues.kafka import KafkaConnection, new_queue
from eventpost.queues.kafka.committing import Committing
from eventpost.queues.kafka.retrying import Retrying
from eventpost.queues.kinds import Services


def main() -> None:
    told = json.loads(sys.argv[1])
    if told.get("stop_at") == "append":
        stop_after_append()
    if told.get("stop_at") == "commit":
        stop_before_commit()
    connection = KafkaConnection(bootstrap=(told["bootstrap"],))
    address = Address(name=told["topic"], options=told["options"])
    queue = new_queue(connection, address, Services())
    release_s = told.get("release_s")
    while True:
        page = queue.receive(told.get("page", 10), 1.0, 60.0)
        if isinstance(page, Failed) or not page:
            continue
        say("taken", *(one.body.decode() for one in page))
        time.sleep(told.get("work_s", 0.0))
        again = [one for one in page if release_s is not None and one.receive_count < 2]
        done = [one for one in page if one not in again]
        if again:
            queue.release(again, release_s)
            say("released", *(one.body.decode() for one in again))
        verdicts = queue.settle(done)
        settled = [one for one, it in zip(done, verdicts, strict=True) if it is Settled.DONE]
        say("done", *(one.body.decode() for one in settled))


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def stop_after_append() -> None:
    append = Retrying.append

    def stopping(self, held, delay_s):  # type: ignore[no-untyped-def]  # as the original's
        append(self, held, delay_s)
        say("appended", *(one.body.decode() for one in held))
        while True:
            time.sleep(60)

    Retrying.append = stopping  # type: ignore[method-assign]  # that is its purpose


def stop_before_commit() -> None:
    def stopping(self, consumer):  # type: ignore[no-untyped-def]  # as the original's
        if self.is_wanted:
            say("committing")
            while True:
                time.sleep(60)

    Committing.begin = stopping  # type: ignore[method-assign]  # that is its purpose


if __name__ == "__main__":
    main()
