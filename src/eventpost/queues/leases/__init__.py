"""The lease engine: it holds what was received, keeps every lease alive, and settles.

Layer: queues. Written once, for sources and for workers, over any `queues.interfaces.Queue`:

    leases = Leases(lambda: open_queue("sqs", connection, address, services), known=ledger.known)
    while (lease := leases.take(wait_s=1.0)) is not None:
        work_on(lease.message)
        leases.finish(lease)
    leases.close(drain_s=30.0)
"""

from eventpost.queues.leases.engine import Known, Leases, Runner
from eventpost.queues.leases.lease import Lease, LostReason
from eventpost.queues.leases.limits import LeaseLimits
from eventpost.queues.leases.listening import Listener
from eventpost.queues.leases.stats import Left, Stats

__all__ = [
    "Known",
    "Lease",
    "LeaseLimits",
    "Leases",
    "Left",
    "Listener",
    "LostReason",
    "Runner",
    "Stats",
]
