"""`eventpost publish TOPIC`: one event, a file of events, or very many of them."""

import argparse
import time
from typing import TYPE_CHECKING

from eventpost.cli import files, output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import (
    EXIT_BAD,
    EXIT_DONE,
    EXIT_INTERRUPTED,
    EXIT_NOT_REACHABLE,
    Commands,
    as_json,
    command,
    connection,
)
from eventpost.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventpost.cli.new_events import Template
    from eventpost.cli.sending import Sending, Tally
    from eventpost.client.discovery import Place


IDS_SHOWN_MAX = 5
"""More ids than these are for `--json`."""


def add(group: Commands) -> None:
    parser = command(
        group,
        "publish",
        publish,
        summary="publish events to a topic",
        parents=[as_json(), connection(has_data_option=False)],
        epilog="A file holds one event, an array of events, or one event per line; what they"
        " lack (id, eventTime, eventType, subject) is filled in.",
    )
    option = parser.add_argument
    option("topic", metavar="TOPIC", help="the topic, or DOMAIN/TOPIC for one of a domain")
    option("source", metavar="-", nargs="?", choices=(files.STDIN,), help="read events from stdin")
    option("--event-type", metavar="TYPE", help="type of the event")
    option("--subject", help="subject of the event")
    option("--data", metavar="JSON", help="data of the event: JSON, or @FILE")
    option("--file", metavar="FILE", help="file with events; - reads standard input")
    option("--count", type=int, metavar="N", help="publish so many, each in its own request")
    option("--rate", metavar="N/s", help="at most so many a second (with --count)")
    option("--in-flight", type=int, metavar="N", help="requests at once (default: 64)")


def publish(arguments: argparse.Namespace) -> int:
    """The topic's key is fetched with the admin token; the events go the way of every publisher."""
    import msgspec

    from eventpost.cli import new_events
    from eventpost.cli.sending import Tally
    from eventpost.core.domains import split

    path = arguments.file or arguments.source
    given = new_events.parse(files.read(path), name=path) if path else []
    domain, named = split(arguments.topic)
    with connect(arguments) as client:
        if named:
            schema = client.show_domain(domain).input_schema
            key = client.list_domain_keys(domain).key1
        else:
            schema = client.show_topic(arguments.topic).input_schema
            key = client.list_keys(arguments.topic).key1
        place = client.place
    template = _template(arguments, schema, named)
    events = new_events.batch(template, given)
    if arguments.count is None:
        bodies: Iterator[bytes] = iter([msgspec.json.encode(events)])
    else:
        bodies = new_events.endless(template, given)
        events = events[:1]
    sending = _sending(arguments, place, key, bodies, template)
    tally = Tally()
    started_s = time.monotonic()
    is_interrupted = not _send(sending, tally)
    elapsed_s = time.monotonic() - started_s
    _report(tally, events, elapsed_s, arguments)
    if is_interrupted:
        return EXIT_INTERRUPTED
    if tally.is_unreachable and not tally.published:
        return EXIT_NOT_REACHABLE
    return EXIT_BAD if tally.failed else EXIT_DONE


def _template(arguments: argparse.Namespace, input_schema: str, topic: str) -> "Template":
    """`topic` is that of a domain, or ""."""
    from eventpost.cli.new_events import SUBJECT_DEFAULT, TYPE_DEFAULT, Template, data
    from eventpost.core.events import Schema

    return Template(
        schema=Schema(input_schema),
        event_type=arguments.event_type or TYPE_DEFAULT,
        subject=arguments.subject or SUBJECT_DEFAULT,
        data=data(arguments.data or "null"),
        topic=topic,
    )


def _sending(
    arguments: argparse.Namespace,
    place: "Place",
    key: str,
    bodies: "Iterator[bytes]",
    template: "Template",
) -> "Sending":
    from eventpost.cli.new_events import CONTENT_TYPES
    from eventpost.cli.sending import IN_FLIGHT_DEFAULT, IN_FLIGHT_MAX, Sending
    from eventpost.core.errors import InvalidRequest
    from eventpost.registry.forms import rate_per_s

    count, in_flight = arguments.count, arguments.in_flight
    if in_flight is None:
        in_flight = IN_FLIGHT_DEFAULT
    if count is None and arguments.rate is not None:
        what = "--rate is given without --count."
        raise InvalidRequest("RateWithoutCount", what, fix="Say how many with --count.")
    if count is not None and count < 1:
        raise InvalidRequest("InvalidCount", f"--count is {count}.", fix="Give 1 or more.")
    if not 1 <= in_flight <= IN_FLIGHT_MAX:
        raise InvalidRequest(
            "InvalidCount", f"--in-flight is {in_flight}.", fix=f"Give 1 to {IN_FLIGHT_MAX}."
        )
    return Sending(
        url=f"{place.url}{_path(arguments.topic)}",
        key=key,
        content_type=CONTENT_TYPES[template.schema],
        bodies=bodies,
        count=1 if count is None else count,
        in_flight_max=in_flight,
        rate_per_s=rate_per_s(arguments.rate, field="--rate") if arguments.rate else None,
        ca_file=str(place.ca_file) if place.ca_file else None,
    )


def _path(topic: str) -> str:
    from eventpost.core.domains import split

    domain, named = split(topic)
    return f"/{'domains' if named else 'topics'}/{domain}/api/events"


def _send(sending: "Sending", tally: "Tally") -> bool:
    """False when it was interrupted."""
    from eventpost.cli.loop import run
    from eventpost.cli.sending import send

    with progress("Publish", total=sending.count, unit="events") as shown:
        try:
            run(send(sending, tally, shown.to))
        except KeyboardInterrupt:
            return False
    return True


def _report(
    tally: "Tally",
    events: list[dict[str, object]],
    elapsed_s: float,
    arguments: argparse.Namespace,
) -> None:
    """`events` are those of one request."""
    from eventpost.cli.new_events import ids

    published = tally.published * len(events)
    failed = tally.failed.total() * len(events)
    names = ids(events) if published and arguments.count is None else []
    rate = published / elapsed_s if elapsed_s else 0.0
    if arguments.json:
        output.json(
            {
                "topic": arguments.topic,
                "published": published,
                "failed": failed,
                "failures": dict(tally.failed),
                "finding": tally.finding,
                "ids": names,
                "elapsedS": round(elapsed_s, 3),
                "eventsPerS": round(rate, 1),
            }
        )
    else:
        how = f" in {elapsed_s:.1f} s ({rate:,.0f} events/s)" if arguments.count else ""
        if 0 < len(names) <= IDS_SHOWN_MAX:
            how = f", id {', '.join(map(output.plain, names))}"
        output.line(f"Published {output.count(published, 'event')} to {arguments.topic}{how}.")
    if failed:
        kinds = ", ".join(f"{why}: {number:,}" for why, number in tally.failed.most_common())
        output.note(f"PublishFailed {output.count(failed, 'event')} not published ({kinds}).")
        if tally.example:
            output.note(f"  why: {output.plain(tally.example)}")
        output.note(f"  fix: {_fix(tally)}; nothing of these was kept.")


def _fix(tally: "Tally") -> str:
    if not tally.finding:
        return "correct what the answer names"
    return f"correct what the answer names, and see eventpost explain {output.plain(tally.finding)}"
