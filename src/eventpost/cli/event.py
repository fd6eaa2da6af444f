"""`eventpost event trace ID`: one event's whole story."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command, connection, noun

if TYPE_CHECKING:
    from eventpost.server.models import DeliveryStoryView, StoryView


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


def _print(story: "StoryView") -> None:
    shown = (story.event_id, story.event_type, story.subject)
    output.line("  ".join(map(output.plain, shown)))
    output.line(f"published {story.publish_time} to {story.topic}, position {story.position:,}")
    if not story.deliveries:
        output.line("  The topic has no subscriptions.")
    for delivery in story.deliveries:
        output.line(f"  {delivery.subscription}: {_where(delivery)}")
        for attempt in delivery.attempts:
            outcome = f"{attempt.finding} {attempt.cause}" if attempt.finding else "delivered"
            output.line(f"    {attempt.time}  attempt {attempt.attempt}  {output.plain(outcome)}")


def _where(delivery: "DeliveryStoryView") -> str:
    match delivery.where:
        case "unmatched":
            refusing = [each.clause for each in delivery.clauses if not each.is_met]
            return f"not matched: {', '.join(map(output.plain, refusing))}"
        case "ladder":
            return f"on the ladder, next attempt {delivery.next_attempt_time}"
        case "locked":
            return f"held by a consumer until {delivery.next_attempt_time}"
        case "dead-letter":
            reason, finding = delivery.dead_letter_reason, delivery.finding
            return f"dead letter {delivery.dead_letter_id}: {reason} {finding}"
        case where:
            return where.replace("-", " ")
