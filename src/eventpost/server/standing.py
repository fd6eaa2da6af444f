"""What holds a subscription up, or took events from it, though no attempt failed. Pure.

Layer: server.
"""

from collections.abc import Iterator

from eventpost.core.books import Dropped, SubscriptionReport
from eventpost.core.subscriptions import ProvisioningState, Subscription
from eventpost.diagnosis import codes
from eventpost.registry.models.books import FindingView
from eventpost.server import explanations


def findings(subscription: Subscription, report: SubscriptionReport) -> list[FindingView]:
    """The findings of how the subscription is now; none while all is well."""
    return [_view(code) for code in _codes(subscription, report)]


def _codes(subscription: Subscription, report: SubscriptionReport) -> Iterator[str]:
    if subscription.provisioning_state is ProvisioningState.FAILED:
        yield codes.VALIDATION_WINDOW_OVER
    if report.is_paused:
        yield codes.PAUSED
    if report.is_breaker_open:
        yield codes.BREAKER_OPEN
    if report.tally.dropped.get(Dropped.RETENTION):
        yield codes.RETENTION_DROPPED


def _view(code: str) -> FindingView:
    found = explanations.finding(code)
    assert found is not None, f"{code} is in the catalogue"
    return FindingView(finding=code, title=found.title, cause=found.cause, fix=found.fix)
