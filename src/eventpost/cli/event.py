"""`eventpost event trace ID`: one event's whole story."""

import argparse
from typing import Any

from eventpost.cli import output
from eventpost.cli.connection import connect
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command, connection, noun


def add(group: Commands) -> None:
    verbs = noun(group, "event", summary="follow single events")
    parser = command(
        verbs,
        "trace",
        trace,
        summary="tell one event's whole story: who matched, every attempt, where it is now",
        parents=[as_json(), connection()],
    )
    parser.add_argument("id", help="the event's id")
    parser.add_argument("--topic", help="only in this topic")
    parser.add_argument(
        "--since", default="7d", metavar="TIME", help="published since (default: 7d ago)"
    )


def trace(arguments: argparse.Namespace) -> int:
    with connect(arguments) as client:
        stories = client.trace_event(arguments.id, topic=arguments.topic, since=arguments.since)
    if arguments.json:
        output.json(stories)
    elif not stories:
        output.note(f"No event {arguments.id} is kept since {arguments.since}.")
    else:
        for story in stories:
            _print(story)
    return EXIT_DONE if stories else EXIT_BAD


def _print(story: dict[str, Any]) -> None:
    """A story as the server tells it (`grid.trace.Story` in JSON)."""
    output.line(
        f"{output.plain(story['eventId'])}  {output.plain(story['eventType'])}"
        f"  {output.plain(story['subject'])}"
    )
    published = output.moment(story["publishedMs"])
    output.line(f"published {published} to {story['topic']}, position {story['position']:,}")
    deliveries = story.get("deliveries", [])
    if not deliveries:
        output.line("  The topic has no subscriptions.")
    for delivery in deliveries:
        output.line(f"  {delivery['subscription']}: {_where(delivery)}")
        for attempt in delivery.get("attempts", []):
            output.line(f"    {_attempt(attempt)}")


def _where(delivery: dict[str, Any]) -> str:
    where = str(delivery["where"])
    if where == "unmatched":
        refusing = [each["clause"] for each in delivery.get("clauses", []) if not _holds(each)]
        return f"not matched: {', '.join(map(output.plain, refusing))}"
    if where == "ladder":
        return f"on the ladder, next attempt {output.moment(delivery.get('nextMs', 0))}"
    if where == "dead-letter":
        identity = delivery.get("deadLetterId", 0)
        return f"dead letter {identity}: {delivery.get('reason', '')} {delivery.get('finding', '')}"
    return where.replace("-", " ")


def _holds(clause: dict[str, Any]) -> bool:
    return bool(clause.get("isMatch", clause.get("is_match", False)))


def _attempt(attempt: dict[str, Any]) -> str:
    at = output.moment(attempt.get("atMs", attempt.get("at_ms", 0)))
    outcome = attempt.get("finding") or "delivered"
    detail = (attempt.get("evidence") or {}).get("detail", "")
    return f"{at}  attempt {attempt['attempt']}  {outcome}  {output.plain(detail)}".rstrip()
