"""One queue of Amazon SQS: send, receive, extend, settle, release.

Layer: queues. The contract is `queues.interfaces.Queue`; SQS's own words are in the modules beside.
"""

from collections.abc import Sequence

import msgspec

from eventpost.core.outcomes import DELIVERED, Failed, Outcome
from eventpost.credentials import aws
from eventpost.queues.interfaces import (
    Address,
    Depth,
    Message,
    Permission,
    Received,
    Rung,
    Settled,
    Verdict,
)
from eventpost.queues.kinds import Services, options_of
from eventpost.queues.sqs import batches, forms, probing, refusals
from eventpost.queues.sqs.address import Place, place
from eventpost.queues.sqs.forms import LEASE_S_MAX, MESSAGE_BYTES_MAX, SYSTEM, Entry, whole_seconds
from eventpost.queues.sqs.permissions import permissions
from eventpost.queues.sqs.polls import Page, Polls
from eventpost.queues.sqs.service import Service, closed
from eventpost.queues.sqs.settings import FIFO_TRAITS, TRAITS, WAIT_S_MAX, WAITS_S, Options

COUNTS = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
]
_ALL = ["All"]


class SqsQueue:
    """Implements `queues.interfaces.Queue`. Calls nobody before it is used."""

    def __init__(
        self, connection: aws.Session, where: Place, options: Options, services: Services
    ) -> None:
        self.traits = FIFO_TRAITS if where.is_fifo else TRAITS
        self._group = options.group
        self._monotonic_s = services.monotonic_s
        self._service = Service(connection, where, options)
        self._polls = Polls(services.monotonic_s, self._give_back)

    @property
    def identity(self) -> str:
        """Region (or endpoint), account and name. Until the first call a queue that is known by its
        name alone has no account here; the ids of its messages are no other queue's in any case."""
        return f"{SYSTEM}:{self._service.identity}"

    def send(self, messages: Sequence[Message]) -> Sequence[Outcome]:
        is_fifo = self._service.place.is_fifo
        entries = [forms.entry(one, is_fifo=is_fifo, group=self._group) for one in messages]
        going = [one for one in entries if isinstance(one, Entry)]
        sent = iter(self._send(going))
        return [one if isinstance(one, Failed) else next(sent) for one in entries]

    def receive(self, count_max: int, wait_s: float, lease_s: float) -> list[Received] | Failed:
        """A wait is at most half of the lease, so that what comes last is under lease for as long
        again; a lease is counted from before the request."""
        count_max = min(count_max, self.traits.receive_count_max)
        late = self._polls.late(count_max)
        if late:
            return late
        lease = whole_seconds(lease_s, LEASE_S_MAX)
        wait = whole_seconds(wait_s, min(WAIT_S_MAX, max(1, lease // 2)))
        if not wait:
            return self._poll(count_max, 0, lease)
        page = self._polls.wait(lambda: self._poll(count_max, wait, lease), count_max)
        return closed("receive") if page == [] and self._service.is_closed else page

    def extend(self, held: Sequence[Received], lease_s: float) -> Sequence[Verdict]:
        """Until 12 hours after it was received; then that fails, and it comes again."""
        now_s = self._monotonic_s()
        leases = [forms.lease_s(lease_s, forms.receipt(one), now_s) for one in held]
        going = [one for one, lease in zip(held, leases, strict=True) if lease]
        changed = iter(self._hide("extend", going, [lease for lease in leases if lease]))
        verdicts: list[Verdict] = []
        for one, lease in zip(held, leases, strict=True):
            verdict = next(changed) if lease else refusals.at_its_end()
            if verdict is Settled.DONE:
                one.lease_until_s = now_s + lease
            verdicts.append(verdict)
        return verdicts

    def settle(self, held: Sequence[Received]) -> Sequence[Verdict]:
        entries: list[dict[str, object]] = [
            {"ReceiptHandle": forms.receipt(one).handle} for one in held
        ]
        return self._change("settle", "delete_message_batch", entries)

    def release(self, held: Sequence[Received], delay_s: float) -> Sequence[Verdict]:
        now_s = self._monotonic_s()
        delays = [forms.lease_s(delay_s, forms.receipt(one), now_s) for one in held]
        return self._hide("release", held, delays)

    def probe(self) -> Sequence[Rung]:
        return probing.probe(self._service)

    def permissions(self) -> Sequence[Permission]:
        """Which actions we may take, found out without taking any of them."""
        return permissions(self._service)

    def redrive_warning(self, receives_max: int) -> str:
        """Why a bound of receives is never reached: SQS itself moves messages away before. "" when
        it is reached, and when the queue's attributes may not be read. Blocks, as a call does."""
        return probing.redrive_warning(self._service, receives_max)

    def count(self) -> int | Failed:
        """About how many messages there are: to be had, delayed, and under lease."""
        answer = self._service.call("count", "get_queue_attributes", AttributeNames=COUNTS)
        if isinstance(answer, Failed):
            return answer
        return sum(int(answer["Attributes"].get(name, 0)) for name in COUNTS)

    def depth(self) -> Depth | Failed:
        counted = self.count()
        return counted if isinstance(counted, Failed) else Depth(total=counted, includes_held=True)

    def clear(self) -> Failed | None:
        """Remove every message, of whatever state. SQS does so once a minute, and takes as long."""
        answer = self._service.call("clear", "purge_queue")
        return answer if isinstance(answer, Failed) else None

    def wake(self) -> None:
        """The poll that is left goes on at the server; what it brings is for the next receive."""
        self._polls.wake()

    def close(self) -> None:
        """Connections are the process's own, shared by all queues of an account, and stay. What a
        poll under way still brings is given back at once."""
        self._service.is_closed = True
        self._polls.close()

    # --- requests -----------------------------------------------------------------------------

    def _send(self, entries: Sequence[Entry]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for batch in batches.cut(entries, lambda one: one.size, MESSAGE_BYTES_MAX):
            outcomes += self._send_batch(batch)
        return outcomes

    def _send_batch(self, batch: Sequence[Entry]) -> list[Outcome]:
        method = "send_message_batch"
        entries = batches.numbered([one.members for one in batch])
        answer = self._service.call("send", method, Entries=entries)
        if isinstance(answer, Failed):
            if answer.evidence.code == refusals.TOO_LONG and len(batch) > 1:
                # Services that bound a batch at less than AWS does say so for the batch only.
                half = len(batch) // 2
                return self._send_batch(batch[:half]) + self._send_batch(batch[half:])
            return [answer] * len(batch)
        return batches.results(
            answer,
            len(batch),
            DELIVERED,
            lambda each: refusals.entry_failed(each, "send", method),
            lambda: refusals.not_answered("send"),
        )

    def _poll(self, count_max: int, wait: int, lease: int) -> Page:
        began_s = self._monotonic_s()
        answer = self._service.call(
            "receive",
            "receive_message",
            wait_s=float(next(each for each in WAITS_S if each >= wait)) if wait else 0.0,
            MaxNumberOfMessages=count_max,
            WaitTimeSeconds=wait,
            VisibilityTimeout=lease,
            MessageAttributeNames=_ALL,
            MessageSystemAttributeNames=_ALL,
        )
        if isinstance(answer, Failed):
            return answer
        return [forms.received(raw, began_s, lease) for raw in answer.get("Messages", ())]

    def _give_back(self, held: Sequence[Received]) -> None:
        """After the end: what fails here comes again when its lease is over."""
        self._hide("release", held, [0] * len(held), is_last=True)

    def _hide(
        self,
        operation: str,
        held: Sequence[Received],
        seconds: Sequence[int],
        *,
        is_last: bool = False,
    ) -> list[Verdict]:
        entries: list[dict[str, object]] = [
            {"ReceiptHandle": forms.receipt(one).handle, "VisibilityTimeout": lease}
            for one, lease in zip(held, seconds, strict=True)
        ]
        method = "change_message_visibility_batch"
        return self._change(operation, method, entries, is_last=is_last)

    def _change(
        self,
        operation: str,
        method: str,
        entries: Sequence[dict[str, object]],
        *,
        is_last: bool = False,
    ) -> list[Verdict]:
        verdicts: list[Verdict] = []
        for batch in batches.cut(entries):
            answer = self._service.call(
                operation, method, is_last=is_last, Entries=batches.numbered(batch)
            )
            if isinstance(answer, Failed):
                verdicts += [refusals.verdict(answer)] * len(batch)
                continue
            verdicts += batches.results(
                answer,
                len(batch),
                Settled.DONE,
                lambda each: refusals.verdict(refusals.entry_failed(each, operation, method)),
                lambda: refusals.not_answered(operation),
            )
        return verdicts


def new_queue(connection: aws.AwsConnection, address: Address, services: Services) -> SqsQueue:
    """The queue `address`. Region and endpoint of a URL or an ARN go before the connection's.

    Raises InvalidRequest for an address that no queue can have.
    """
    where = place(address.name)
    options = options_of(address, Options)
    settings = connection
    if where.region:
        settings = msgspec.structs.replace(settings, region=where.region)
    if where.endpoint and not settings.endpoint_url:
        settings = msgspec.structs.replace(settings, endpoint_url=where.endpoint)
    return SqsQueue(aws.session(settings), where, options, services)
