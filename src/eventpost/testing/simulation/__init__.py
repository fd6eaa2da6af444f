"""A simulation of the whole grid: the real engine on the real SQLite store, in virtual time.

    report = simulate(Plan.of(seed=7, events=2_000), directory)

Everything is drawn from the seed: what is published and changed, how receivers behave, what the
disk does, when the process dies and how wrong its clock is afterwards. The same seed gives the same
run. A promise that is broken raises `BrokenPromiseError` with the seed in its text.
"""

from eventpost.testing.simulation.ledger import BrokenPromiseError
from eventpost.testing.simulation.plan import FAULTS, Plan
from eventpost.testing.simulation.run import Report, simulate

__all__ = ["FAULTS", "BrokenPromiseError", "Plan", "Report", "simulate"]
