"""The options that describe an event subscription, and the declaration that they come to.

Names are `az eventgrid event-subscription`'s. Bounds are checked by the server, so that the command
line, the API and the file refuse the same things with the same words.
"""

import argparse
from collections.abc import Callable, Sequence

from eventpost.cli.pairs import settings
from eventpost.cli.parser import Parser

Words = list[str]


def options(*, is_creating: bool) -> Parser:
    """The parent parser with these options. Updating has no start."""
    parser = Parser(add_help=False)
    _endpoint_options(parser.add_argument_group("endpoint"))
    _filter_options(parser.add_argument_group("filter"))
    _delivery_options(parser.add_argument_group("delivery"))
    _retry_options(parser.add_argument_group("retry and dead letters"))
    _whole_options(parser.add_argument_group("the subscription itself"))
    if is_creating:
        parser.add_argument(
            "--start", metavar="now|earliest|TIME", help="where it begins (default: now)"
        )
    return parser


def declaration(arguments: argparse.Namespace) -> dict[str, object]:
    """What the options declare, as the API takes it; options not given are absent.

    Raises InvalidRequest for words that are no filter or no mapping.
    """
    declared: dict[str, object] = {}
    for option, (path, read) in _FIELDS.items():
        value = getattr(arguments, option, None)
        if value is None:
            continue
        *parents, name = path.split(".")
        target = declared
        for parent in parents:
            target = target.setdefault(parent, {})  # type: ignore[assignment]  # nested objects
        target[name] = read(value) if read else value
    return declared


def changes(arguments: argparse.Namespace) -> dict[str, object]:
    """The same as a merge patch: what is given empty goes back to its default."""
    return _emptied(declaration(arguments))


def _emptied(declared: dict[str, object]) -> dict[str, object]:
    return {
        name: None
        if value in ("", [], {})
        else _emptied(value)
        if isinstance(value, dict)
        else value
        for name, value in declared.items()
    }


def _endpoint_options(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--endpoint",
        metavar="ADDRESS",
        help="URL of the webhook, name of the queue, or place (none for pull)",
    )
    add("--endpoint-type", metavar="KIND", help="kind of endpoint (default: webhook)")
    add("--connection", metavar="NAME", help="named connection that the endpoint uses")
    add(
        "--endpoint-option",
        action="append",
        metavar="KEY=VALUE",
        help="an option of the queue's system (repeatable); a list is JSON",
    )
    add(
        "--storage-queue-msg-ttl",
        "--qttl",
        type=int,
        metavar="SECONDS",
        help="how long a message of a storage queue lives; -1: for ever (default: 7 days)",
    )
    add(
        "--message-format",
        metavar="FORMAT",
        help="how an event stands in a queue's message: event, raw, roadrunner or dramatiq "
        "(default: event)",
    )
    add(
        "--message-property",
        nargs="*",
        action="append",
        metavar="WORD",
        help="property of a queue's messages (group, deduplication-id, routing-key, message-id, "
        "delay, priority): NAME static VALUE or NAME dynamic PATH (repeatable)",
    )
    add(
        "--delivery-attribute-mapping",
        nargs="*",
        action="append",
        metavar="WORD",
        help="header on each delivery: NAME static VALUE [true|false (secret)] or "
        "NAME dynamic PATH (repeatable)",
    )
    add(
        "--signing-secret",
        action="append",
        metavar="REF",
        help="sign deliveries (Standard Webhooks) with env:NAME or file:PATH (repeat to rotate)",
    )
    add(
        "--azure-active-directory-tenant-id",
        metavar="TENANT",
        help="tenant whose tokens the webhook wants on each request",
    )
    add(
        "--azure-active-directory-application-id-or-uri",
        metavar="APPLICATION",
        help="application that such a token is for",
    )
    add("--insecure", action="store_true", default=None, help="do not verify its certificate")


def _filter_options(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--included-event-types", nargs="*", metavar="TYPE", help="only these event types")
    add("--subject-begins-with", metavar="TEXT", help="only subjects that begin so")
    add("--subject-ends-with", metavar="TEXT", help="only subjects that end so")
    add(
        "--subject-case-sensitive",
        nargs="?",
        const=True,
        type=boolean,
        metavar="true|false",
        help="compare subjects by case",
    )
    add(
        "--advanced-filter",
        nargs="*",
        action="append",
        metavar="WORD",
        help="KEY OPERATOR VALUE..., all of them must hold (repeatable); ranges as 5,9 20,30",
    )
    add(
        "--enable-advanced-filtering-on-arrays",
        nargs="?",
        const=True,
        type=boolean,
        metavar="true|false",
        help="let advanced filters look into arrays",
    )


def _delivery_options(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add(
        "--event-delivery-schema",
        metavar="SCHEMA",
        help="eventgridschema, cloudeventschemav1_0 or custominputschema (default: the topic's)",
    )
    add("--max-events-per-batch", type=int, metavar="N", help="events in one request (default: 1)")
    add(
        "--preferred-batch-size-in-kilobytes",
        type=int,
        metavar="N",
        help="size after which a batch is closed (default: 64)",
    )
    add("--concurrency", type=int, metavar="N", help="requests in flight (default: 64)")
    add("--rate", metavar="N/s", help="events a second at most (default: no bound)")
    add("--response-timeout", metavar="DURATION", help="how long an answer may take (default: 30s)")
    add(
        "--receive-lock-duration",
        type=float,
        metavar="SECONDS",
        help="pull: how long a consumer holds what it received (default: 60)",
    )
    add(
        "--max-delivery-count",
        type=int,
        metavar="N",
        help="pull: how often an event is handed out at most (default: 10)",
    )


def _retry_options(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--max-delivery-attempts", type=int, metavar="N", help="attempts at most (default: 30)")
    add(
        "--event-ttl",
        metavar="MINUTES",
        help="time to live in minutes, or with a unit such as 10s (default: 1440)",
    )
    add(
        "--retry-schedule",
        metavar="NAME|STEPS",
        help="event-grid, event-grid-2023 or steps such as 10s,30s,1m (default: event-grid)",
    )
    add(
        "--final-statuses",
        nargs="*",
        type=int,
        metavar="STATUS",
        help="answers that are not retried (default: 400 401 403 413)",
    )
    add(
        "--deadletter-endpoint",
        metavar="PLACE",
        help="where copies of dead letters are written: folder:PATH, "
        "azureblob://ACCOUNT/CONTAINER or s3://BUCKET/PREFIX (default: rows only)",
    )
    add(
        "--deadletter-connection",
        metavar="NAME",
        help="named connection that leads there (default: the one that names the account)",
    )


def _whole_options(group: "argparse._ArgumentGroup") -> None:
    add = group.add_argument
    add("--labels", nargs="*", metavar="LABEL", help="texts to find it by")
    add(
        "--expiration-date",
        metavar="TIME",
        help="when it is deleted by itself, such as 2027-01-31T12:00:00Z (default: never)",
    )


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"`{text}` is neither true nor false")
    return text.lower() == "true"


def event_types(types: Words) -> Words | None:
    """`All`, as `az` has it, is no filter."""
    return None if [each.lower() for each in types] == ["all"] else types


def advanced_filters(filters: list[Words]) -> list[dict[str, object]]:
    """The clauses of every `--advanced-filter`, as the API takes them."""
    from eventpost.core.notation import parse_advanced_filter

    clauses = []
    for words in filter(None, filters):
        clause = parse_advanced_filter(words)
        values = [list(value) if isinstance(value, tuple) else value for value in clause.values]
        declared: dict[str, object] = {
            "key": clause.key,
            "operatorType": clause.operator_type.value,
        }
        if values:
            declared["values"] = values
        clauses.append(declared)
    return clauses


def attribute_mappings(mappings: list[Words]) -> list[dict[str, object]]:
    """The delivery properties of every `--delivery-attribute-mapping`."""
    return [_mapping("--delivery-attribute-mapping", words) for words in mappings if words]


def message_properties(mappings: list[Words]) -> list[dict[str, object]]:
    """The properties of every `--message-property`."""
    return [_mapping("--message-property", words) for words in mappings if words]


def _mapping(option: str, words: Sequence[str]) -> dict[str, object]:
    from eventpost.core.errors import InvalidRequest

    match [word if index != 1 else word.lower() for index, word in enumerate(words)]:
        case [name, "static", value]:
            return {"name": name, "type": "static", "value": value}
        case [name, "static", value, secret] if secret.lower() in ("true", "false", "secret"):
            is_secret = secret.lower() != "false"
            return {"name": name, "type": "static", "value": value, "isSecret": is_secret}
        case [name, "dynamic", path]:
            return {"name": name, "type": "dynamic", "sourceField": path}
    raise InvalidRequest(
        "InvalidDeliveryAttribute",
        f"`{option}` has {len(words)} words that make no property (the first is `{words[0]}`).",
        fix="Write NAME static VALUE [true|false], or NAME dynamic PATH.",
    )


Read = Callable[..., object]

_FIELDS: dict[str, tuple[str, Read | None]] = {
    "endpoint": ("endpoint", None),
    "endpoint_type": ("endpointType", None),
    "connection": ("connection", None),
    "endpoint_option": ("endpointOptions", settings),
    "storage_queue_msg_ttl": ("endpointOptions.ttl_s", None),
    "message_format": ("messageFormat", None),
    "message_property": ("messageProperties", message_properties),
    "delivery_attribute_mapping": ("deliveryAttributeMappings", attribute_mappings),
    "signing_secret": ("signingSecrets", None),
    "azure_active_directory_tenant_id": ("azureActiveDirectoryTenantId", None),
    "azure_active_directory_application_id_or_uri": (
        "azureActiveDirectoryApplicationIdOrUri",
        None,
    ),
    "insecure": ("tlsInsecure", None),
    "included_event_types": ("filter.includedEventTypes", event_types),
    "subject_begins_with": ("filter.subjectBeginsWith", None),
    "subject_ends_with": ("filter.subjectEndsWith", None),
    "subject_case_sensitive": ("filter.subjectCaseSensitive", None),
    "advanced_filter": ("filter.advancedFilters", advanced_filters),
    "enable_advanced_filtering_on_arrays": ("filter.enableAdvancedFilteringOnArrays", None),
    "event_delivery_schema": ("eventDeliverySchema", None),
    "max_events_per_batch": ("maxEventsPerBatch", None),
    "preferred_batch_size_in_kilobytes": ("preferredBatchSizeInKilobytes", None),
    "concurrency": ("concurrency", None),
    "rate": ("rate", None),
    "response_timeout": ("responseTimeout", None),
    "receive_lock_duration": ("receiveLockDurationInSeconds", None),
    "max_delivery_count": ("maxDeliveryCount", None),
    "max_delivery_attempts": ("retry.maxDeliveryAttempts", None),
    "event_ttl": ("retry.eventTtl", None),
    "retry_schedule": ("retry.schedule", None),
    "final_statuses": ("retry.finalStatuses", None),
    "deadletter_endpoint": ("deadletter", None),
    "labels": ("labels", None),
    "expiration_date": ("expirationTimeUtc", None),
    "deadletter_connection": ("deadletterConnection", None),
    "start": ("start", None),
}
"""Where each option goes: its path in the declaration, and how its words are read."""
