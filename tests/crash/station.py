"""A radio station to crash: its topic and subscriptions, and what must hold when all is calm."""

from dataclasses import dataclass

from eventpost.registry.declarations import (
    FilterDeclaration,
    RetryDeclaration,
    SubscriptionDeclaration,
)
from eventpost.registry.models import Books, Report
from tests.conftest import Say
from tests.crash.outside import TOPIC, Outside
from tests.crash.program import Program, until

UNSAVED_MAX = 50
SETTINGS = {"EVENTPOST_GRID_OUTCOMES_UNSAVED_MAX": str(UNSAVED_MAX)}


@dataclass(frozen=True, slots=True)
class Kind:
    """One subscription of the station."""

    name: str
    concurrency: int = 4
    batch: int = 1
    subject: str = ""

    def wants(self, subject: str) -> bool:
        return subject.startswith(self.subject)


KINDS = (
    Kind("each"),
    Kind("batched", concurrency=2, batch=10),
    Kind("one-at-a-time", concurrency=1, subject="song/jazz"),
)
WINDOWS = sum(kind.concurrency * kind.batch for kind in KINDS)
DUPLICATES_PER_KILL = WINDOWS + UNSAVED_MAX
"""What may be sent again after a kill: what was in flight, and what was not saved yet."""


def prepare(
    program: Program, outside: Outside, *, schedule: str = "50ms,200ms", attempts_max: int = 30
) -> str:
    """Make topic and subscriptions; returns the topic's key."""
    retry = RetryDeclaration(schedule=schedule, max_delivery_attempts=attempts_max)
    with program.client() as client:
        client.create_topic(TOPIC)
        for kind in KINDS:
            client.create_subscription(
                SubscriptionDeclaration(
                    topic=TOPIC,
                    name=kind.name,
                    endpoint=f"{outside.url}/{kind.name}",
                    concurrency=kind.concurrency,
                    max_events_per_batch=kind.batch,
                    response_timeout="5s",
                    filter=FilterDeclaration(subject_begins_with=kind.subject),
                    retry=retry,
                    deadletter=f"folder:{program.data.parent / 'letters'}",
                )
            )
        return client.list_keys(TOPIC).key1


def report(program: Program) -> Report:
    with program.client() as client:
        return client.show_report()


def is_calm(found: Report) -> bool:
    return all(books.pending == 0 and books.lag == 0 for books in found.subscriptions)


def check(program: Program, outside: Outside, say: Say, *, endings: int | None = None) -> None:
    """Let everything settle; then: lost 0, duplicates bounded, nothing dead untried, balanced.

    `endings` is how often the engine was lost with what it held; by default as often as it was
    killed.
    """
    outside.heal()
    until(lambda: is_calm(report(program)), "everything is settled")
    found = report(program)
    dead = dead_letters(program, outside)
    published = sum(topic.published for topic in found.topics if topic.topic == TOPIC)
    taken = duplicates = 0
    lost: list[tuple[str, str]] = []
    for kind in KINDS:
        seen = outside.seen(kind.name)
        wanted = {id_ for id_, subject in outside.acknowledged.items() if kind.wants(subject)}
        lost += [(kind.name, id_) for id_ in wanted - seen.times.keys() - dead[kind.name]]
        taken += sum(seen.times.values())
        duplicates += seen.duplicates
    bound = (program.kills if endings is None else endings) * DUPLICATES_PER_KILL
    say(
        f"kills {program.kills}, acknowledged {len(outside.acknowledged)}, delivered {taken}, "
        f"dead letters {sum(map(len, dead.values()))}, duplicates {duplicates} (at most {bound}), "
        f"lost {len(lost)}"
    )
    assert lost == []
    assert duplicates <= bound
    for books in found.subscriptions:
        check_books(books, published)


def check_books(books: Books, published: int) -> None:
    settled = books.delivered + sum(books.dead_lettered.values()) + sum(books.dropped.values())
    assert books.matched + books.replayed == settled + books.pending, books
    assert books.dropped == {}, books
    if not next(kind for kind in KINDS if kind.name == books.subscription).subject:
        assert books.matched == published, books


def dead_letters(program: Program, outside: Outside) -> dict[str, set[str]]:
    """Event ids by subscription. Each was tried before, and its receiver knows."""
    found: dict[str, set[str]] = {kind.name: set() for kind in KINDS}
    with program.client() as client:
        for letter in client.dead_letters():
            assert letter.delivery_attempts > 0, letter
            assert outside.seen(letter.subscription).attempts[letter.event_id] > 0, letter
            found[letter.subscription].add(letter.event_id)
    return found
