"""Alerts on the built-in topic `eventpost.health`: started, still, cleared; each told once.

Layer: app, on the event loop's thread. Looks are made in real time, whatever the grid's clock does.
An alert that cannot be published, because the store takes nothing, is told at the next look.
"""

import asyncio
import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from eventpost.app import asking
from eventpost.app.conditions import Condition, Look, Thresholds, conditions
from eventpost.config.settings import AlertSettings
from eventpost.core.errors import EventpostError, InvalidRequest
from eventpost.core.subscriptions import HEALTH_TOPIC
from eventpost.diagnosis import catalogue
from eventpost.diagnosis.classify import describe
from eventpost.formats import eventgrid
from eventpost.formats.times import seven_digits
from eventpost.telemetry.logs import log

if TYPE_CHECKING:
    from eventpost.app.application import App

STARTED, STILL, CLEARED = "started", "still", "cleared"
EVENT_TYPES = {
    STARTED: "Eventpost.AlertStarted",
    STILL: "Eventpost.AlertStill",
    CLEARED: "Eventpost.AlertCleared",
}


@dataclass(slots=True)
class Active:
    """An alert that was told of and not cleared yet."""

    condition: Condition
    since_ms: int
    told_ms: int


class Alerts:
    """Looks at the server every `interval_s` and tells what has become wrong, is wrong still, or
    is well again."""

    def __init__(self, app: "App", settings: AlertSettings) -> None:
        self._app = app
        self._settings = settings
        self._active: dict[tuple[str, str, str, str], Active] = {}
        self._before: Look | None = None
        self._task: asyncio.Task[None] | None = None
        self.started_counts: dict[str, int] = {}
        """By kind, since the process started."""

    @property
    def active(self) -> list[Active]:
        return list(self._active.values())

    def start(self) -> None:
        if self._settings.interval_s > 0:
            self._task = asyncio.get_running_loop().create_task(self._look_again_and_again())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> None:
        """Look now, and tell what has changed. Raises nothing expected."""
        now, settings = await self._seen(), self._settings
        thresholds = Thresholds(
            ladder_min=settings.ladder_min,
            unsettled_s=settings.unsettled_s,
            credentials_s=settings.credentials_s,
            certificate_s=settings.certificate_s,
        )
        active = [each.condition for each in self._active.values()]
        found = {each.key: each for each in conditions(now, self._before, active, thresholds)}
        is_told = [await self._hold(key, each, now.at_ms) for key, each in found.items()]
        if all(is_told):
            self._before = now  # what fell since then and could not be told is told next time
        for key in [each for each in self._active if each not in found]:
            await self._clear(key, now.at_ms)

    async def _seen(self) -> Look:
        """What is reported now. The certificate is read on a thread of its own."""
        app = self._app
        certificate = app.settings.server.tls_cert
        _, subscriptions = app.report()
        return Look(
            at_ms=app.now_ms(),
            subscriptions=subscriptions,
            failures=app.newest_failures(),
            sources=[app.pulling.report(each) for each in app.sources.all()],
            credentials=app.known_credentials(),
            certificate_ends_ms=await asyncio.to_thread(_end_ms, certificate)
            if certificate
            else None,
        )

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the border: alerts never take the grid down
                log("alerts.failed", level=logging.ERROR, detail=type(error).__name__)
            await asyncio.sleep(self._settings.interval_s)

    async def _hold(self, key: tuple[str, str, str, str], condition: Condition, at_ms: int) -> bool:
        """False when it is new, and the store did not take it."""
        known = self._active.get(key)
        if known is None:
            if not await self._tell(STARTED, condition, at_ms, at_ms):
                return False
            self._active[key] = Active(condition, at_ms, at_ms)
            kind = condition.kind.value
            self.started_counts[kind] = self.started_counts.get(kind, 0) + 1
            return True
        known.condition = condition
        is_due = at_ms - known.told_ms >= self._settings.repeat_s * 1_000
        if is_due and await self._tell(STILL, condition, known.since_ms, at_ms):
            known.told_ms = at_ms
        return True

    async def _clear(self, key: tuple[str, str, str, str], at_ms: int) -> None:
        known = self._active[key]
        if await self._tell(CLEARED, known.condition, known.since_ms, at_ms):
            del self._active[key]

    async def _tell(self, state: str, condition: Condition, since_ms: int, at_ms: int) -> bool:
        """Publish it; False when the store did not take it."""
        topic = self._app.topic(HEALTH_TOPIC)
        body = msgspec.json.encode([event(state, condition, since_ms, at_ms)])
        events = eventgrid.decode(body, self._app.topic_resource(topic))
        try:
            await asking.kept(lambda done: self._app.grid.publish(topic.id, events, done))
        except EventpostError:
            return False
        log(
            "alert.told",
            level=logging.INFO if state == CLEARED else logging.WARNING,
            alert=condition.kind.value,
            state=state,
            of=condition.of,
            name=condition.name,
            topic=condition.topic,
            finding=condition.finding,
        )
        return True


def event(state: str, condition: Condition, since_ms: int, at_ms: int) -> dict[str, object]:
    """The alert as an event of Event Grid's schema."""
    within = f"/topics/{condition.topic}" if condition.topic else ""
    data: dict[str, object] = {
        "alert": condition.kind.value,
        "state": state,
        "of": condition.of,
        "name": condition.name,
        "topic": condition.topic,
        "since": seven_digits(since_ms),
        "value": condition.value,
        "detail": condition.detail,
    }
    if condition.finding in catalogue.all_codes():
        told = describe(condition.finding)
        data |= {"finding": told.code, "title": told.title, "cause": told.cause}
        data |= {"check": told.check, "fix": told.fix}
    return {
        "id": str(uuid.uuid4()),
        "eventType": EVENT_TYPES[state],
        "subject": f"{within}/{condition.of}s/{condition.name}/{condition.kind.value}",
        "eventTime": seven_digits(at_ms),
        "dataVersion": "1",
        "data": data,
    }


def _end_ms(certificate: str) -> int | None:
    """When the certificate in a file ends; None when it cannot be read."""
    from eventpost.http import tls

    try:
        return round(datetime.fromisoformat(tls.end_of(Path(certificate))).timestamp() * 1_000)
    except InvalidRequest:
        return None
