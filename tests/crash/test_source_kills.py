"""The real program, killed while it pulls from real queues: nothing is lost, little comes twice."""

import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from eventpost.testing.fault_proxy import HANG_AFTER, RESET_AFTER
from tests.conftest import Say
from tests.crash import pulled
from tests.crash.conftest import NewProgram
from tests.crash.launcher import SOURCE_POINTS
from tests.crash.outside import Outside
from tests.crash.program import Program, until
from tests.crash.pulled import PREFETCH, SETTINGS, Account, Sender
from tests.queues.leases import places
from tests.queues.leases.places import Place, Site
from tests.services.azurite import Azurite
from tests.services.elasticmq import ElasticMQWithStorage
from tests.services.fixtures import OwnServices
from tests.services.kafka import Kafka
from tests.services.rabbitmq import RabbitMQ
from tests.services.running import Running

ROUNDS = max(4, int(os.environ.get("EVENTPOST_CRASH_ROUNDS") or 30) // 5)
"""Kills at random moments, of each system."""
REBALANCES = 4
PASSES_MAX = 8
"""How often a point is passed at most before the kill."""

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600 + 20 * ROUNDS)]


def site_of(kind: str, request: pytest.FixtureRequest, opened: ExitStack) -> Site:
    if kind == "sqs":
        return opened.enter_context(places.sqs(request.getfixturevalue("elasticmq")))
    if kind == "storagequeue":
        return opened.enter_context(places.storagequeue(request.getfixturevalue("azurite")))
    return opened.enter_context(places.rabbitmq(request.getfixturevalue("rabbitmq")))


def own_place(kind: str, own_service: OwnServices, opened: ExitStack) -> tuple[Running[Any], Place]:
    """A queue on a server of its own, which keeps what it has when it restarts."""
    if kind == "sqs":
        elasticmq = own_service(ElasticMQWithStorage)
        return elasticmq, opened.enter_context(places.sqs(elasticmq.service)).place
    if kind == "storagequeue":
        azurite = own_service(Azurite)
        return azurite, opened.enter_context(places.storagequeue(azurite.service)).place
    if kind == "rabbitmq":
        rabbitmq = own_service(RabbitMQ)
        return rabbitmq, opened.enter_context(places.rabbitmq(rabbitmq.service)).place
    kafka = own_service(Kafka)
    return kafka, places.kafka_place(kafka.service)


@pytest.fixture(params=["sqs", "storagequeue", "rabbitmq", "kafka"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A queue whose redeliveries are known by their ids."""
    with ExitStack() as opened:
        if request.param == "kafka":
            yield places.kafka_place(request.getfixturevalue("kafka"))
        else:
            yield site_of(request.param, request, opened).place


@pytest.fixture
def program(new_program: NewProgram, place: Place) -> Program:
    return new_program(**SETTINGS, **place.secrets)


def test_a_kill_at_each_point_of_the_way(
    program: Program, outside: Outside, place: Place, seed: int, figures: Say
) -> None:
    """Killed at each named point of a message's way, from its receipt to when its id is forgotten:
    every message becomes an event, and none becomes two."""
    draw = random.Random(seed)
    program.start()
    pulled.prepare(program, outside, place)
    program.kill()
    with Sender(place, outside) as sender:
        for name in SOURCE_POINTS:
            program.begin(f"{name}:{draw.randint(1, PASSES_MAX)}")
            program.wait_for_kill()
        program.start()
        outside.wait_for_acknowledged(50)

    check_exact(pulled.settled([program], outside, place, sender, figures))


def test_kills_at_random_moments(
    program: Program, outside: Outside, place: Place, seed: int, figures: Say
) -> None:
    """Whenever it is killed: every message becomes an event, and none becomes two."""
    draw = random.Random(seed)
    program.start()
    pulled.prepare(program, outside, place)
    with Sender(place, outside) as sender:
        kill_again_and_again(program, outside, draw)

    check_exact(pulled.settled([program], outside, place, sender, figures))


def test_without_ids_what_was_held_may_come_twice(
    new_program: NewProgram,
    outside: Outside,
    request: pytest.FixtureRequest,
    seed: int,
    figures: Say,
) -> None:
    """RabbitMQ tells no redelivery apart when its publishers set no ids: killed at any moment no
    message is lost, and at most what was held becomes events again."""
    draw = random.Random(seed)
    with ExitStack() as opened:
        place = site_of("rabbitmq", request, opened).place
        place = replace(place, options=place.options | {"message_ids": False})
        program = new_program(**SETTINGS)
        program.start()
        pulled.prepare(program, outside, place)
        with Sender(place, outside) as sender:
            for name in ("before-settling", "after-settling"):
                program.kill()
                program.begin(f"{name}:{draw.randint(1, PASSES_MAX)}")
                program.wait_for_kill()
                program.start()
            kill_again_and_again(program, outside, draw)

        account = pulled.settled([program], outside, place, sender, figures)

    assert account.lost == 0
    assert account.duplicates <= program.kills * PREFETCH


@pytest.mark.parametrize("kind", ["sqs", "storagequeue"])
def test_killed_while_deletes_are_refused(
    new_program: NewProgram,
    outside: Outside,
    request: pytest.FixtureRequest,
    kind: str,
    figures: Say,
) -> None:
    """What was taken and could not be deleted before a kill is known after it: it is deleted with
    its fresh receipt, and becomes no event again."""
    with ExitStack() as opened:
        site = site_of(kind, request, opened)
        site.fail(site.settle, site.forbidden)
        program = new_program(**SETTINGS, **site.place.secrets)
        program.start()
        pulled.prepare(program, outside, site.place)
        with Sender(site.place, outside) as sender:
            until(lambda: len(outside.seen("each").times) >= PREFETCH, "some are taken")
            program.kill()
            program.start()
            outside.wait_for_acknowledged(20)
        program.kill()
        site.proxy.mend()
        program.start()

        account = pulled.settled([program], outside, site.place, sender, figures)

    assert account.redelivered >= PREFETCH
    check_exact(account)


def test_a_sender_that_repeats(
    new_program: NewProgram, outside: Outside, request: pytest.FixtureRequest, figures: Say
) -> None:
    """A sender that is not told of what its queue has sends it again, and the queue has it twice:
    these are the sender's repeats, each an event of its own, and a kill adds none of ours."""
    with ExitStack() as opened:
        site = site_of("sqs", request, opened)
        program = new_program(**SETTINGS, **site.place.secrets)
        program.start()
        pulled.prepare(program, outside, site.place)
        with Sender(site.place, outside) as sender:
            site.proxy.when("SendMessageBatch", RESET_AFTER, times=1)
            outside.wait_for_acknowledged(20)
            program.kill()
            program.start()
            outside.wait_for_acknowledged(20)

        account = pulled.settled([program], outside, site.place, sender, figures)

    assert account.sent_twice == pulled.BATCH
    check_exact(account)


def test_a_sender_that_is_not_told_before_a_restart(
    new_program: NewProgram, outside: Outside, own_service: OwnServices, figures: Say
) -> None:
    """A queue system that stops when it has a batch, and has not said so, has it twice afterwards:
    these, too, are the sender's repeats, as many as went unanswered, and none is the grid's."""
    azurite = own_service(Azurite)
    with places.storagequeue(azurite.service) as site:
        program = new_program(**SETTINGS, **site.place.secrets)
        program.start()
        pulled.prepare(program, outside, site.place)
        with Sender(site.place, outside) as sender:
            outside.wait_for_acknowledged(20)
            unanswered = site.proxy.when("PutMessage", HANG_AFTER)
            site.proxy.wait_for_hits(unanswered)
            until(lambda: _is_batch_taken(outside), "the grid has a batch that nobody confirmed")
            unanswered_count = len(unanswered.hits)
            azurite.stop()
            site.proxy.cut()
            until(lambda: sender.sent_again > 0, "the sender gave up on it")
            site.proxy.mend()
            azurite.start()
            outside.wait_for_acknowledged(20)

        account = pulled.settled([program], outside, site.place, sender, figures)

    assert 0 < unanswered_count <= account.sent_twice
    check_exact(account)


@pytest.mark.parametrize("kind", ["sqs", "storagequeue", "rabbitmq", "kafka"])
def test_the_queue_system_restarts_in_mid_stream(
    new_program: NewProgram,
    outside: Outside,
    own_service: OwnServices,
    kind: str,
    figures: Say,
) -> None:
    """While the queue system restarts the program goes on; afterwards it pulls again by itself, and
    what was confirmed to senders is there, once: unless they themselves had to send it again."""
    with ExitStack() as opened:
        running, place = own_place(kind, own_service, opened)
        program = new_program(**SETTINGS, **place.secrets)
        program.start()
        pulled.prepare(program, outside, place)
        with Sender(place, outside) as sender:
            for _ in range(2):
                outside.wait_for_acknowledged(50)
                running.stop()
                until(lambda: pulled.is_failing(program), "the source says that nothing comes")
                running.start()
                until(lambda: not pulled.is_failing(program), "the source works again")
            outside.wait_for_acknowledged(50)
            program.kill()  # and the two together: the program is away when its queue comes back
            running.restart()
            program.start()
            outside.wait_for_acknowledged(50)

        account = pulled.settled([program], outside, place, sender, figures)

    check_exact(account)


def test_killed_while_the_group_rebalances(
    new_program: NewProgram, outside: Outside, kafka: Kafka, seed: int, figures: Say
) -> None:
    """Two programs share a topic of Kafka, and one is killed as it joins, again and again: nothing
    is lost, and what becomes events twice is at most what was held whenever partitions moved."""
    draw = random.Random(seed)
    place = places.kafka_place(kafka, partitions=4)
    steady, restless = new_program(**SETTINGS), new_program(**SETTINGS)
    for program in (steady, restless):
        program.start()
        pulled.prepare(program, outside, place)
    with Sender(place, outside) as sender:
        for _ in range(REBALANCES):
            restless.kill()
            restless.begin()
            until(lambda: restless.is_ready, "it is there")
            threading.Event().wait(draw.uniform(0.0, 2.0))  # somewhere in its joining
        outside.wait_for_acknowledged(50)

    account = pulled.settled([steady, restless], outside, place, sender, figures)

    # With each kill partitions move twice: to the other when the group notices, and back.
    assert account.lost == 0
    assert account.duplicates <= 2 * restless.kills * 2 * PREFETCH


def _is_batch_taken(outside: Outside) -> bool:
    """Whether all of a batch came out that its sender has not been told of."""
    return len(outside.seen("each").times) >= len(outside.acknowledged) + pulled.BATCH


def kill_again_and_again(program: Program, outside: Outside, draw: random.Random) -> None:
    for _ in range(ROUNDS):
        if draw.random() < 0.8:
            goal = len(outside.seen("each").times) + draw.randint(1, 100)
            until(lambda goal=goal: len(outside.seen("each").times) >= goal, "some more came")  # type: ignore[misc]
        program.kill()
        program.start()


def check_exact(account: Account) -> None:
    """Ids that the transport gives were committed with the events."""
    assert account.lost == 0
    assert account.duplicates == 0
    assert 0 <= account.sent_twice <= account.sent_again
