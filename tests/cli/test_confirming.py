"""What is gone for good is asked about, where somebody can answer."""

import os
import pty

import pytest

from tests.cli.receiver import Receiver
from tests.cli.running import Done, Program

pytestmark = pytest.mark.slow


def answered(grid: Program, answer: bytes, *words: str) -> Done:
    """Run a command on a terminal and type the answer."""
    ours, terminal = pty.openpty()
    try:
        process = grid.start(*words, stdin=terminal)
        os.write(ours, answer)
        out, err = process.communicate(timeout=120)
    finally:
        os.close(ours)
        os.close(terminal)
    return Done(process.returncode, out.decode(), err.decode())


def subscribed(grid: Program, receiver: Receiver, topic: str) -> None:
    grid.ok("topic", "create", topic)
    words = ("--topic", topic, "--endpoint", receiver.url)
    grid.ok("subscription", "create", "hook", *words)


@pytest.mark.parametrize("answer", [b"\n", b"n\n", b"no\n", b"yess\n", b"\x04"])
def test_anything_but_a_yes_keeps_it(grid: Program, receiver: Receiver, answer: bytes) -> None:
    """Return, a no, and the end of the input delete nothing; what would go was said before."""
    topic = f"keep-{answer.hex()}"
    subscribed(grid, receiver, topic)

    of_topic = answered(grid, answer, "topic", "delete", topic)
    of_subscription = answered(grid, answer, "subscription", "delete", "hook", "--topic", topic)

    for done in (of_topic, of_subscription):
        assert done.code == 2
        assert done.out == ""
        assert "Delete? [y/N]" in done.err
        assert "Nothing was deleted." in done.err
    assert "1 subscription" in of_topic.err
    assert "0 pending deliveries and 0 dead letters" in of_subscription.err
    assert grid.ok("subscription", "show", "hook", "--topic", topic).code == 0


@pytest.mark.parametrize("answer", [b"y\n", b"Yes\n"])
def test_a_yes_deletes_it(grid: Program, receiver: Receiver, answer: bytes) -> None:
    """A yes in any case deletes."""
    topic = f"gone-{answer.strip().decode()}"
    subscribed(grid, receiver, topic)

    assert answered(grid, answer, "subscription", "delete", "hook", "--topic", topic).code == 0
    assert answered(grid, answer, "topic", "delete", topic).code == 0

    assert grid.run("topic", "show", topic).code == 1


def test_yes_and_scripts_are_not_asked(grid: Program, receiver: Receiver) -> None:
    """With `--yes` or `-y`, and without a terminal, nobody is asked."""
    subscribed(grid, receiver, "unasked")

    words = ("subscription", "delete", "hook", "--topic", "unasked")
    on_a_terminal = answered(grid, b"n\n", *words, "-y")
    in_a_script = grid.run("topic", "delete", "unasked")

    for done in (on_a_terminal, in_a_script):
        assert done.code == 0, done
        assert "?" not in done.err


def test_what_is_not_there_is_not_asked_about(grid: Program) -> None:
    """A name that is wrong is an error before any question."""
    for noun in ("topic", "subscription"):
        done = answered(grid, b"y\n", noun, "delete", "nothing-here")
        assert done.code == 1
        assert "?" not in done.err
