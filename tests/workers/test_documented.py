"""The page on workers cannot fall behind the brokers."""

from dataclasses import fields

from eventpost.workers import metrics
from eventpost.workers.hooks import WorkerHooks
from eventpost.workers.limits import WorkerLimits
from tests.documentation import ROOT

PAGE = (ROOT / "docs/workers.md").read_text(encoding="utf-8")


def test_every_bound_is_told() -> None:
    """Each bound of workers can be looked up."""
    assert [one.name for one in fields(WorkerLimits) if f"| `{one.name}` |" not in PAGE] == []


def test_every_metric_is_told() -> None:
    """Each metric can be looked up, by the name under which it is served."""
    names = {f"{name}_total" for name in metrics.COUNTERS} | set(metrics.GAUGES)
    assert [name for name in names if f"| `{name}` |" not in PAGE] == []


def test_every_hook_is_told() -> None:
    """Each hook can be looked up, and none is told that there is not."""
    hooks = {name for name in vars(WorkerHooks) if name.startswith("on_")}
    assert {name for name in PAGE.split("`") if name.startswith("on_")} == hooks
