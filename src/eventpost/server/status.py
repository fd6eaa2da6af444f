"""How the server is: health, books of everything, effective configuration."""

from eventpost.config import inventory
from eventpost.config.effective import Effective
from eventpost.core.version import VERSION
from eventpost.registry import forms
from eventpost.registry.models import (
    CheckView,
    HealthView,
    Report,
    SettingList,
    SettingView,
    StatusView,
)
from eventpost.server import views
from eventpost.server.ports import AppPort
from eventpost.server.routes import Call, Subject

subject = Subject("server")


@subject.get("/status")
async def show_status(call: Call[None, None]) -> StatusView:
    """Show version, address, age and health of the server."""
    app = call.app
    return StatusView(
        version=VERSION,
        public_url=app.public_url,
        started_time=forms.time_text(app.started_ms),
        topic_count=len(app.topics()),
        subscription_count=len(app.subscriptions()),
        health=health(app),
    )


@subject.get("/health")
async def show_health(call: Call[None, None]) -> HealthView:
    """Show every worker inside and what is wrong with it, if anything."""
    return health(call.app)


@subject.get("/report")
async def show_report(call: Call[None, None]) -> Report:
    """Show the books of every topic and subscription.

    matched + replayed = delivered + dead-lettered + dropped + pending, for each subscription.
    """
    topics, subscriptions = call.app.report()
    return Report(
        topics=[views.topic_books(each) for each in topics],
        subscriptions=[views.books(each) for each in subscriptions],
    )


@subject.get("/config")
async def show_config(call: Call[None, None]) -> SettingList:
    """Show every setting that holds, secrets masked, and its default."""
    effective = Effective(call.app.settings, {})
    return SettingList(
        value=[
            SettingView(
                name=setting.name,
                value=effective.shown(setting),
                default=setting.default,
                description=setting.description,
            )
            for setting in inventory.settings().values()
        ]
    )


def health(
    app: AppPort, *, without: frozenset[str] = frozenset(), is_probe: bool = False
) -> HealthView:
    """Every check but those named in `without`; for a probe also without what depends on others
    than this process."""
    checks = [
        CheckView(name=each.name, ok=each.ok, detail=each.detail)
        for each in app.health()
        if each.name not in without and not (is_probe and each.is_outside)
    ]
    status = "ok" if all(check.ok for check in checks) else "failing"
    return HealthView(status=status, checks=checks)
