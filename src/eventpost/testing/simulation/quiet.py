"""What must hold when all is quiet: everything is settled, as the receivers know it."""

from collections import Counter
from typing import TYPE_CHECKING

from eventpost.core.books import Dropped
from eventpost.core.interfaces import DeadLetter, DeadLetterQuery, Usage
from eventpost.core.retry import Reason
from eventpost.core.subscriptions import DEAD_LETTER_TOPIC
from eventpost.formats.deadletters import DEAD_LETTERED_EVENT
from eventpost.testing.simulation.books import (
    EVERYTHING,
    FOR_EVER_MS,
    SHOWN,
    check_accounted,
    letters_of,
    require,
)
from eventpost.testing.simulation.ledger import Account, TopicLog
from eventpost.testing.simulation.running import check_running

if TYPE_CHECKING:
    from eventpost.grid.lane import Lane
    from eventpost.testing.simulation.process import Process
    from eventpost.testing.simulation.world import World

EXPORTS_DUE = DeadLetterQuery(is_replayed=None, export_due_ms=FOR_EVER_MS, limit=EVERYTHING)
FORGIVABLE = {Dropped.SUPERSEDED.value, Dropped.SKIPPED.value}


def is_quiet(process: "Process") -> bool:
    """Whether everything was read, sent, settled and exported."""
    engine = process.engine
    for partition in engine.partitions.values():
        if partition.is_recovering or partition.lagging:
            return False
        for lane in partition.lanes.values():
            if lane.total().pending or lane.in_flight or lane.recovery is not None:
                return False
    if process.ask(process.store.usage, kind=Usage).ladder_count:
        return False
    return not process.ask(process.store.dead_letters, EXPORTS_DUE, kind=list)


def unquiet(process: "Process") -> str:
    """What is still under way."""
    lanes = [
        f"{lane.subscription.name}: pending {lane.total().pending}, in flight {lane.in_flight}, "
        f"outstanding {len(lane.outstanding)}, ladder {lane.ladder_count}, rows {len(lane.rows)}, "
        f"cursor {lane.cursor} of {partition.routed}, live {lane.is_live}, room {lane.room}, "
        f"breaker {lane.breaker.is_open}, parked {lane.has_parked}, paused {lane.is_paused}"
        for partition in process.engine.partitions.values()
        for lane in partition.lanes.values()
        if lane.total().pending or not lane.is_live
    ]
    letters = process.ask(process.store.dead_letters, EXPORTS_DUE, kind=list)
    rows = process.ask(process.store.usage, kind=Usage).ladder_count
    lanes.append(f"{rows} rows on the ladder")
    return "; ".join(lanes) + f"; {len(letters)} dead letters to export: {letters[:1]}"


def check_quiet(world: "World", process: "Process") -> None:
    """All is settled, and the books agree with what the receivers took."""
    check_running(world, process)
    notices = _notices(world)
    for subscription_id, account in world.ledger.living():
        lane = process.engine.lane(subscription_id, 0)
        assert lane is not None
        log = world.ledger.log_of(account)
        check_accounted(process, lane, account, log, set())
        _check_never_wanted(lane, account, log)
        _check_tally(world, lane, account)
        letters = letters_of(process, subscription_id)
        _check_letters(process, lane, account, letters)
        if not log.topic.is_builtin:
            told, fallen = notices[lane.subscription.name], _dead_lettered(lane)
            require(
                told == fallen,
                f"{lane.subscription.name}: {told} notices, {fallen} dead letters in the books",
            )
        _check_exports(world, lane, letters)
    check_duplicates(world)


def check_duplicates(world: "World") -> None:
    """No more came twice than each end of a process allows."""
    duplicates = sum(account.duplicates() for account in world.ledger.accounts.values())
    require(
        duplicates <= world.duplicates_max,
        f"{duplicates} duplicates, at most {world.duplicates_max} after {world.ends} ends",
    )


def _check_never_wanted(lane: "Lane", account: Account, log: TopicLog) -> None:
    wanted = {position for passage in account.ever for position in passage.wanted(log, EVERYTHING)}
    strangers = account.taken.keys() - wanted
    require(
        not strangers, f"{lane.subscription.name}: sent, never wanted: {sorted(strangers)[:SHOWN]}"
    )


def _dead_lettered(lane: "Lane") -> int:
    return sum(lane.total().dead_lettered.values())


def _check_tally(world: "World", lane: "Lane", account: Account) -> None:
    name = lane.subscription.name
    tally = lane.total()
    require(
        tally.dropped.keys() <= FORGIVABLE and (account.rewinds or not tally.dropped),
        f"{name}: dropped {tally.dropped}",
    )
    require(
        account.replays_durable <= tally.replayed <= account.replays_asked,
        f"{name}: {tally.replayed} replayed in the books, asked {account.replays_asked}, "
        f"answered {account.replays_durable}",
    )
    certain = sum((account.taken - account.excused).values())
    if lane.subscription.endpoint.is_pulled:
        # An acknowledgement whose answer was lost may have been kept, and may not.
        taken = account.taken.total()
        require(
            certain <= tally.delivered <= taken,
            f"{name}: {tally.delivered} in the books, {certain} acknowledged for certain, {taken} "
            "at most",
        )
        return
    require(tally.delivered <= certain, f"{name}: {tally.delivered} in the books, {certain} taken")
    spare = world.duplicates_max + sum(tally.dropped.values())
    require(
        certain - tally.delivered <= spare,
        f"{name}: {certain} taken, {tally.delivered} in the books, at most {spare} apart",
    )


def _check_letters(
    process: "Process", lane: "Lane", account: Account, letters: list[DeadLetter]
) -> None:
    name = lane.subscription.name
    waiting = [letter for letter in letters if not letter.replayed_ms]
    require(len(waiting) == len(letters), f"{name}: replays without a row on the ladder")
    known = process.engine.dead_letters.counts.get(lane.subscription.id, 0)
    require(known == len(waiting), f"{name}: {known} dead letters known, {len(waiting)} there")
    if not account.rewinds and not account.purged:
        expected = _dead_lettered(lane) - lane.total().replayed
        require(
            len(waiting) == expected,
            f"{name}: {len(waiting)} dead letters, {expected} in the books",
        )
    for letter in letters:
        is_tried = letter.attempts > 0 and letter.last_attempt_ms > 0
        may_be_untried = letter.reason in {Reason.TIME_TO_LIVE, Reason.CLIENT_ERROR}
        require(is_tried or may_be_untried, f"{name}: dead and never tried: {letter}")


def _notices(world: "World") -> Counter[str]:
    """Notices of dead letters by subscription name."""
    found: Counter[str] = Counter()
    for log in world.ledger.logs.values():
        if log.topic.name == DEAD_LETTER_TOPIC:
            for entry in log.entries:
                if entry.event.type == DEAD_LETTERED_EVENT:
                    found[entry.event.subject.rpartition("/")[2]] += 1
    return found


def _check_exports(world: "World", lane: "Lane", letters: list[DeadLetter]) -> None:
    for letter in letters:
        if letter.exported_to:
            body = world.files.bodies[letter.exported_to]
            require(letter.event_id.encode() in body, f"{letter.event_id} is not in its file")
        else:
            is_wanted = lane.subscription.deadletter is not None and letter.export_due_ms
            require(not is_wanted, f"{lane.subscription.name}: {letter.id} was not exported")
