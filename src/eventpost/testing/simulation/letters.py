"""What users do with dead letters: look at a page of them, replay some, purge some."""

from collections.abc import Callable

from eventpost.core.interfaces import DeadLetter, DeadLetterQuery, ReadFailed
from eventpost.testing.simulation.process import Process
from eventpost.testing.simulation.world import World

PAGE = 50
Then = Callable[[Process, list[DeadLetter]], None]


class Letters:
    """A list may be old when it is acted upon: another action may have come in between."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._draw = world.draw
        self._ledger = world.ledger

    def replay(self, process: Process) -> None:
        self._list_letters(process, self._replay)

    def purge(self, process: Process) -> None:
        self._list_letters(process, self._purge)

    def _list_letters(self, process: Process, then: Then) -> None:
        def listed(letters: list[DeadLetter] | ReadFailed) -> None:
            if process is self._world.process and not isinstance(letters, ReadFailed):
                then(process, letters)

        query = DeadLetterQuery(limit=PAGE)
        process.store.dead_letters(query, listed)

    def _replay(self, process: Process, letters: list[DeadLetter]) -> None:
        counted = self._draw.sample(letters, self._draw.randint(0, len(letters)))
        before = self._replayed(process)

        def done(is_durable: bool) -> None:
            if is_durable:
                for account, count in asked:
                    account.replays_durable += count

        for letter in counted:
            account = self._ledger.accounts[letter.subscription_id]
            account.offered_again[letter.position] += 1
        process.engine.dead_letters.replay(counted, done)
        asked = []
        for subscription_id, count in self._replayed(process).items():
            account = self._ledger.accounts[subscription_id]
            account.replays_asked += count - before[subscription_id]
            asked.append((account, count - before[subscription_id]))

    def _replayed(self, process: Process) -> dict[int, int]:
        """How many replays the books of each subscription know."""
        return {
            subscription_id: sum(
                lane.total().replayed for lane in process.engine.lanes_of(subscription_id)
            )
            for subscription_id in process.engine.subscriptions
        }

    def _purge(self, process: Process, letters: list[DeadLetter]) -> None:
        chosen = self._draw.sample(letters, self._draw.randint(0, len(letters)))
        for letter in chosen:
            self._ledger.accounts[letter.subscription_id].purged.add(letter.position)
        process.engine.dead_letters.purge(chosen, lambda _: None)
