"""Every bound of a worker's broker, by name. Each can be given to the broker as a setting.

Layer: workers.
"""

from dataclasses import dataclass, fields

from eventpost.queues.tasks import DEAD_LETTER_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """Bounds beside those of the lease engine. What is not positive raises ValueError, but for a
    `quick_s` of 0."""

    wait_s: float = 20.0
    """The longest poll, where the server holds requests open."""
    idle_s_max: float = 0.75
    """The longest pause after an empty answer, where the server answers at once: what a message
    waits at most in a queue that was idle for long. Half of it is what one waits in the middle."""
    idle_growth: float = 1.1
    """How many times as long each such pause is as the one before: about a tenth of the time since
    the last message came. The first is a fifth of a second."""
    quick_s: float = 0.25
    """While as many messages as one receive brings are finished within this time, so many more than
    the prefetch are fetched ahead. 0: never."""
    pending_lease_s: float = 900.0
    """By how much the lease of a finished message is extended that could not be deleted yet. After
    a crash it comes again, and is deleted, no sooner."""
    held_bytes_max: int = 64 * 1024 * 1024
    """Of bodies that one queue's consumer holds."""

    short_delay_s_max: float = 2.0
    """A rest of a delay that is not longer is waited for in memory, under the lease."""
    held_part_max: float = 0.5
    """Of what is fetched ahead, the part that may wait so."""
    resend_age_s: float = 43_200.0
    """A delayed message that is older is sent anew instead of being hidden once more, so that the
    queue's retention never ends a delay."""

    guard_delay_s: float = 15.0
    """When a message comes again whose follow-up (a pipeline's next, a callback) could not be
    sent."""
    bury_delay_s: float = 30.0
    """When the copy to the dead-letter queue is tried again."""
    doomed_max: int = 10_000
    """Messages known to belong to the dead-letter queue, and receives that do not count, kept in
    memory."""
    error_chars_max: int = 2_000
    """Of the error that goes along to the dead-letter queue."""
    dead_letter_bytes: int = DEAD_LETTER_BYTES
    """What a message leaves free below the queue's bound, for the reason of a dead letter."""

    send_calls_max: int = 4
    """Sends to one queue under way at once, where several messages travel as one request. Who comes
    meanwhile goes along with the next."""
    ledger_pause_s_min: float = 0.1
    """Before what is finished is offered again to a ledger that failed; twice as long each time."""
    ledger_pause_s_max: float = 5.0
    drain_s: float = 10.0
    """How long a worker that shuts down waits until what it finished is settled."""
    tell_s: float = 60.0
    """The same failure is told once in this time."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 0 or (value == 0 and field.name != "quick_s"):
                raise ValueError(f"{field.name} is not positive")
        if self.idle_growth < 1:
            raise ValueError("idle_growth is below 1")
        if self.held_part_max > 1:
            raise ValueError("held_part_max is above 1")
