"""What users do with dead letters: look at a page of them, replay some, purge some."""

from collections.abc import Callable

from eventpost.core.interfaces import DeadLetter, DeadLetterQuery, ReadFailed
from eventpost.testing.simulation.process import Process
from eventpost.testing.simulation.world import World

PAGE = 50
Then = Callable[[Process, list[DeadLetter]], None]


class Letters:
    """One replay or purge at a time, from reading the page until it is durable, as the application
    has it. Everything else goes on in between."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._taking: Process | None = None
        self._draw = world.draw
        self._ledger = world.ledger

    def replay(self, process: Process) -> None:
        self._list_letters(process, self._replay)

    def purge(self, process: Process) -> None:
        self._list_letters(process, self._purge)

    def _list_letters(self, process: Process, then: Then) -> None:
        def listed(letters: list[DeadLetter] | ReadFailed) -> None:
            if process is not self._world.process or isinstance(letters, ReadFailed):
                self._taking = None
            else:
                then(process, letters)

        if self._taking is not process:
            self._taking = process
            process.store.dead_letters(DeadLetterQuery(limit=PAGE), listed)

    def _replay(self, process: Process, letters: list[DeadLetter]) -> None:
        counted = self._draw.sample(letters, self._draw.randint(0, len(letters)))
        before = self._replayed(process)

        def done(is_durable: bool) -> None:
            self._taking = None
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

        def done(_is_durable: bool) -> None:
            self._taking = None

        process.engine.dead_letters.purge(chosen, done)
