"""Ladders are climbed rung by rung, side by side, and in time, whatever the looks do."""

import threading

import pytest

from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.diagnosis.doctor.climbing import Look, Subject, examine
from eventpost.diagnosis.doctor.ladder import Faulty, Rung, State, Unknown, Warned
from eventpost.diagnosis.doctor.told import told

REFUSED = Failed(Evidence(stage=Stage.CONNECT, fault=Fault.REFUSED, address="192.0.2.1:443"))


def subject(*steps: tuple[str, Look], name: str = "patient") -> Subject:
    return Subject(kind="connection", name=name, steps=steps)


def never_asked() -> str:
    raise AssertionError("nothing is looked at above a broken rung")


def test_the_first_broken_rung_ends_the_climb() -> None:
    """What stands on a broken rung is not looked at, and what is below it is proven good."""
    [found] = examine(
        [subject(("settings", lambda: "fine"), ("route", lambda: REFUSED), ("tls", never_asked))]
    )

    assert [each.state for each in found.rungs] == [State.GOOD, State.BROKEN]
    assert found.proven == ("settings",)
    assert found.broken is not None
    assert found.broken.explanation is not None
    assert found.broken.explanation.code == "EP2004"
    assert "192.0.2.1:443" in found.broken.explanation.cause


def test_a_healthy_ladder_has_no_finding() -> None:
    """Where all holds, nothing is explained."""
    [found] = examine([subject(("settings", lambda: "fine"), ("tls", lambda: None))])

    assert found.is_healthy
    assert [each.name for each in found.rungs] == ["settings"]
    assert told([found])["healthy"] is True


def test_what_is_unknown_or_will_break_ends_nothing() -> None:
    """A rung that cannot be looked at, and one that will not hold for ever, are told; the climb
    goes on."""
    [found] = examine(
        [
            subject(
                ("clock", lambda: Unknown("nobody says the time")),
                ("tls", lambda: Warned(code="EP6004", detail="3 days")),
                ("protocol", lambda: "spoken"),
            )
        ]
    )

    assert found.is_healthy
    assert [each.state for each in found.rungs] == [State.UNKNOWN, State.WARNING, State.GOOD]
    assert [each.name for each in found.warnings] == ["tls"]


def test_a_look_that_hangs_is_left_in_time() -> None:
    """A ladder ends within its bound although a look never does, and says which look it was."""
    never = threading.Event()
    hanging = subject(("settings", lambda: "fine"), ("name", lambda: str(never.wait())))
    healthy = subject(("settings", lambda: "fine"), name="other")

    stuck, other = examine([hanging, healthy], seconds_max=0.1)
    never.set()

    assert stuck.broken is not None
    assert stuck.broken.name == "name"
    assert stuck.broken.explanation is not None
    assert stuck.broken.explanation.code == "EP6001"
    assert "0.1 s" in stuck.broken.detail
    assert other.is_healthy


def test_more_ladders_than_threads() -> None:
    """Every ladder is climbed, in order of asking, no more at once than allowed."""
    lock, most, now = threading.Lock(), [0], [0]

    def look() -> str:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        with lock:
            now[0] -= 1
        return "fine"

    found = examine(
        [subject(("settings", look), name=str(index)) for index in range(50)], parallel_max=3
    )

    assert [each.name for each in found] == [str(index) for index in range(50)]
    assert most[0] <= 3


def test_a_hanging_ladder_gives_its_place_away() -> None:
    """The place of a ladder that was left is taken by the next one."""
    never = threading.Event()
    hanging = [subject(("name", lambda: str(never.wait())), name=str(each)) for each in range(2)]

    found = examine(
        [*hanging, subject(("settings", lambda: "fine"))], seconds_max=0.1, parallel_max=1
    )
    never.set()

    assert [each.is_healthy for each in found] == [False, False, True]


def test_all_together_end_in_time() -> None:
    """Ladders whose turn comes when the time for all is over are not waited for, and say so."""
    never = threading.Event()
    hanging = [subject(("name", lambda: str(never.wait())), name=str(each)) for each in range(5)]

    found = examine(hanging, seconds_max=60.0, parallel_max=1, all_seconds_max=0.1)
    never.set()

    details = [each.broken.detail for each in found if each.broken is not None]
    assert len(details) == 5
    assert "after 0 s" not in details[0]
    assert all("after 0 s" in each for each in details[1:])


def test_a_look_that_breaks_is_a_rung() -> None:
    """An error that nobody expected is told as such; its text, which may hold anything, is not."""

    def breaking() -> str:
        raise ZeroDivisionError("sig=secret")

    [found] = examine([subject(("settings", breaking))])

    assert found.broken is not None
    assert found.broken.explanation is not None
    assert found.broken.explanation.code == "EP9001"
    assert "ZeroDivisionError" in found.broken.detail
    assert "secret" not in str(told([found]))


def test_each_rung_is_told_as_it_is_known() -> None:
    """Whoever watches hears of each rung, the one of a ladder that was left included."""
    heard: list[tuple[str, str, Rung]] = []
    never = threading.Event()

    examine(
        [subject(("settings", lambda: "fine"), ("name", lambda: str(never.wait())))],
        seconds_max=0.05,
        on_rung=lambda kind, name, rung: heard.append((kind, name, rung)),
    )
    never.set()

    assert [(name, rung.name) for _, name, rung in heard] == [
        ("patient", "settings"),
        ("patient", "name"),
    ]


@pytest.mark.parametrize("rungs", [[], [Rung(name="queue", state=State.GOOD)]])
def test_several_rungs_from_one_look(rungs: list[Rung]) -> None:
    """A probe that sees several rungs at once gives them in its order."""
    [found] = examine([Subject(kind="source", name="jobs", steps=[("probe", lambda: rungs)])])

    assert list(found.rungs) == rungs


def test_the_answer_is_json() -> None:
    """What programs read names the finding, what is proven, and each rung with its evidence."""
    [found] = examine(
        [
            subject(
                ("settings", lambda: "fine"), ("clock", lambda: Faulty(code="EP6002", detail="x"))
            )
        ]
    )

    answer = told([found])

    assert answer["healthy"] is False
    assert isinstance(answer["examined"], list)
    [examination] = answer["examined"]
    assert examination["finding"] == "EP6002"
    assert examination["proven"] == ["settings"]
    assert [each["state"] for each in examination["rungs"]] == ["good", "broken"]
    assert set(examination["rungs"][1]) >= {"finding", "cause", "check", "fix"}
