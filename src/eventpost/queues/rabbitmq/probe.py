"""Looking, without writing, whether a queue could be used: rung by rung, up to one that breaks.

Layer: queues, on the loop's thread. It has a connection of its own, so that it sees what a new one
would meet, and nothing of what is under way is touched. Whether we may read and publish the server
tells only who does it.
"""

import time

from eventpost.core.outcomes import Evidence, Failed, Stage
from eventpost.queues.interfaces import Depth, Rung
from eventpost.queues.rabbitmq import failures
from eventpost.queues.rabbitmq.failures import Refusal
from eventpost.queues.rabbitmq.line import Line, Opened
from eventpost.queues.rabbitmq.settings import RabbitmqConnection
from eventpost.queues.rabbitmq.target import Target
from eventpost.queues.rabbitmq.thread import LoopThread
from eventpost.queues.rabbitmq.topology import Topology

RUNGS = ("credentials", "name", "connect", "tls", "protocol", "authentication", "vhost", "queue")
_BY_STAGE = {
    Stage.SETTINGS: "tls",
    Stage.CREDENTIALS: "credentials",
    Stage.NAME: "name",
    Stage.CONNECT: "connect",
    Stage.TLS: "tls",
}
_BY_CODE = {
    failures.TLS_NOT_OFFERED: "tls",
    failures.TLS_EXPECTED: "protocol",
    failures.NOT_AMQP: "protocol",
    failures.LOGIN_REFUSED: "authentication",
    failures.MECHANISM_NOT_OFFERED: "authentication",
    failures.VHOST_NOT_FOUND: "vhost",
    failures.VHOST_REFUSED: "vhost",
    failures.LIMIT_REACHED: "vhost",
}


async def probe(
    settings: RabbitmqConnection, target: Target, thread: LoopThread, client_id: str
) -> list[Rung]:
    """The rungs that hold, and the first that does not."""
    started_s = time.monotonic()
    line = Line(settings, thread, f"{client_id} probe")
    opened: Opened | None = None
    counts: tuple[int, int] | None = None
    failed: Failed | None = None
    try:
        opened = await line.opened()
        counts = await Topology(target).look(line)
    except Refusal as refusal:
        failed = failures.failed(refusal.evidence, "probe", time.monotonic() - started_s)
    finally:
        await line.close()
    broken = None if failed is None else _broken(failed.evidence, is_open=opened is not None)
    details = _details(settings, opened, counts)
    rungs: list[Rung] = []
    for name in RUNGS:
        if name == broken:
            return [*rungs, Rung(name=name, failed=failed)]
        if name in details:
            rungs.append(Rung(name=name, detail=details[name]))
    return rungs


async def depth(
    settings: RabbitmqConnection, target: Target, thread: LoopThread, client_id: str
) -> Depth | Failed:
    """The messages that are ready, which nobody holds; none of an exchange without a queue."""
    started_s = time.monotonic()
    line = Line(settings, thread, f"{client_id} probe")
    try:
        counts = await Topology(target).look(line)
    except Refusal as refusal:
        return failures.failed(refusal.evidence, "probe", time.monotonic() - started_s)
    finally:
        await line.close()
    return Depth(total=0 if counts is None else counts[0])


def _broken(evidence: Evidence, *, is_open: bool) -> str:
    if is_open:
        return "queue"
    if evidence.code in _BY_CODE:
        return _BY_CODE[evidence.code]
    return _BY_STAGE.get(evidence.stage, "vhost" if evidence.code else "protocol")


def _details(
    settings: RabbitmqConnection, opened: Opened | None, counts: tuple[int, int] | None
) -> dict[str, str]:
    """What each rung says when it holds. There is none for what was not needed."""
    server = settings.server()
    details = {
        "credentials": f"auth {settings.auth}",
        "name": server.host,
        "connect": f"port {server.port}",
        "protocol": "AMQP 0-9-1",
        "authentication": "by certificate" if settings.auth == "external" else server.user,
        "vhost": server.vhost,
        "queue": "",
    }
    if server.is_tls:
        details["tls"] = "any certificate is taken" if settings.insecure else "certificate good"
    if opened is not None:
        properties = opened.connection.server_properties
        details["connect"] = opened.wire.address or ""
        details["protocol"] += f", {properties.get('product')!s} {properties.get('version')!s}"
    if counts is not None:
        details["queue"] = f"{counts[0]} messages ready, {counts[1]} consumers"
    return details
