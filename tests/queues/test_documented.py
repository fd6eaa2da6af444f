"""The page on leases cannot fall behind the engine."""

from dataclasses import fields

from eventpost.queues.leases import LeaseLimits
from eventpost.queues.ledger import LedgerLimits
from tests.documentation import ROOT

PAGE = (ROOT / "docs/leases.md").read_text(encoding="utf-8")


def test_every_bound_of_the_engine_is_told() -> None:
    """Each bound of the lease engine can be looked up."""
    assert [one.name for one in fields(LeaseLimits) if f"`{one.name}`" not in PAGE] == []


def test_the_bounds_of_the_ledger_are_told() -> None:
    """Each bound that a user would set on the ledger can be looked up."""
    inner = {"trim_every_s", "trim_rows_max", "settled_waiting_max"}
    named = {one.name for one in fields(LedgerLimits)}

    assert inner <= named
    assert [name for name in sorted(named - inner) if f"`{name}`" not in PAGE] == []
