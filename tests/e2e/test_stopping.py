"""A server that is told to stop keeps nobody waiting who only listens."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from eventpost.core.errors import ServerUnreachable
from eventpost.testing import Grid, Receiver
from tests.patience import PATIENCE_S

TIMED_OUT = "http.drain_timed_out"
"""What is logged when requests under way had to be dropped, after 30 s."""


def test_a_tail_ends_with_the_server(grid: Grid, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever follows a topic is told at once that the server stops, after the last event."""
    grid.topic("songs")
    client = grid.client_of_its_own()
    with ThreadPoolExecutor(2) as threads:
        tail = client.tail_topic("songs")
        first = threads.submit(next, tail)
        grid.wait_until(lambda engine: any(engine.listeners.values()))
        [event_id] = grid.publish("songs")
        assert event_id.encode() in bytes(first.result(PATIENCE_S).event)

        following = threads.submit(next, tail)
        threads.submit(grid.stop).result(PATIENCE_S)

        with pytest.raises(ServerUnreachable, match="stopping"):
            following.result(PATIENCE_S)
    assert TIMED_OUT not in caplog.text


def test_a_slow_replay_ends_with_the_server(
    grid: Grid, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """A replay that would take an hour ends with the server; what it has not put back is still a
    dead letter."""
    grid.topic("songs")
    grid.subscribe("songs", receiver)
    receiver.script(400, 400)
    grid.publish("songs", count=2)
    receiver.wait_for(2)
    grid.settle()
    client = grid.client_of_its_own()

    with ThreadPoolExecutor(1) as threads:
        progress = client.replay(rate=0.001)
        assert next(progress).done == 1
        threads.submit(grid.stop).result(PATIENCE_S)

        with pytest.raises(ServerUnreachable, match="stopping"):
            next(progress)
    assert TIMED_OUT not in caplog.text

    grid.start()
    assert len(grid.dead_letters()) == 1
