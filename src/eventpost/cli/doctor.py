"""`eventpost doctor`: climbs the ladder of everything that is declared, and says what is broken."""

import argparse
from typing import TYPE_CHECKING

from eventpost.cli import output
from eventpost.cli.connecting import connect
from eventpost.cli.parser import EXIT_BAD, EXIT_DONE, Commands, as_json, command, connection
from eventpost.cli.progress import progress

if TYPE_CHECKING:
    from eventpost.app.doctor.declarations import Declarations
    from eventpost.app.doctor.requirements import Need
    from eventpost.client import Client
    from eventpost.config.settings import Settings
    from eventpost.core.errors import EventpostError
    from eventpost.diagnosis.doctor.climbing import Subject
    from eventpost.diagnosis.doctor.ladder import Examination, Rung

SIGNS = {"good": "good", "warning": "WARNING", "unknown": "unknown", "broken": "BROKEN"}


def add(group: Commands) -> None:
    parser = command(
        group,
        "doctor",
        doctor,
        summary="examine every connection, source, subscription and the store, rung by rung",
        parents=[as_json(), connection()],
        epilog="It looks from this machine, with this environment. It changes nothing, unless "
        "--round-trip is given. Exit 1 when something is broken.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these (default: everything)")
    parser.add_argument(
        "--config", metavar="FILE", help="what this file declares (default: what the server holds)"
    )
    parser.add_argument(
        "--round-trip",
        action="store_true",
        help="also write: send each queue a message and fetch it back, and ask webhooks for "
        "their consent, as before a first delivery",
    )
    parser.add_argument(
        "--requirements",
        action="store_true",
        help="examine nothing; print the hosts, ports and rights that each connection needs",
    )


def doctor(arguments: argparse.Namespace) -> int:
    from eventpost.app.doctor import subjects as ladders
    from eventpost.core.errors import ServerUnreachable

    unreachable: EventpostError | None = None
    try:
        found = _declarations(arguments)
    except ServerUnreachable as error:
        found, unreachable = _nothing(arguments), error
    if arguments.requirements:
        if unreachable is not None:
            raise unreachable
        return _requirements(found, arguments)
    chosen = ladders.subjects(found, is_round_trip=arguments.round_trip)
    if unreachable is not None:
        chosen = [_server(unreachable), *chosen]
    return _examine(ladders.named(chosen, arguments.names), arguments)


def _examine(chosen: "list[Subject]", arguments: argparse.Namespace) -> int:
    from eventpost.diagnosis.doctor.climbing import examine
    from eventpost.diagnosis.doctor.told import told

    seen = 0
    with progress("Examining", total=None, unit="rungs") as shown:

        def on_rung(_kind: str, _name: str, _rung: "Rung") -> None:
            nonlocal seen
            seen += 1
            shown.to(seen)

        examinations = examine(chosen, on_rung=on_rung)
    if arguments.json:
        output.json(told(examinations))
    else:
        for each in examinations:
            _print(each)
        output.line(_summary(examinations))
    return EXIT_DONE if all(each.is_healthy for each in examinations) else EXIT_BAD


# --- what there is to examine ---------------------------------------------------------------------


def _declarations(arguments: argparse.Namespace) -> "Declarations":
    from eventpost.app.doctor import declarations

    if arguments.config:
        return declarations.of_file(arguments.config)
    with connect(arguments) as client:
        return _of_server(client)


def _of_server(client: "Client") -> "Declarations":
    import msgspec

    from eventpost.app.doctor.declarations import Declarations
    from eventpost.registry.declarations import TopicDeclaration
    from eventpost.registry.masks import MASK

    subscriptions = [
        msgspec.structs.replace(each, endpoint=client.show_full_url(each.name, topic=each.topic))
        if MASK in each.endpoint
        else each
        for each in client.list_subscriptions()
    ]
    return Declarations(
        settings=_settings(client),
        connections=list(client.list_connections()),
        topics=[
            TopicDeclaration(name=each.name, input_schema=each.input_schema)
            for each in client.list_topics()
        ],
        sources=list(client.list_sources()),
        subscriptions=list(subscriptions),
    )


def _settings(client: "Client") -> "Settings":
    """The server's own, so that its rules on addresses hold."""
    from eventpost.config.effective import settle
    from eventpost.config.inventory import settings

    known = settings()
    given = {
        each.name: (each.value, "the server")
        for each in client.show_config()
        if each.name in known and each.value != each.default
    }
    return settle(flags=given, environment={}).settings


def _nothing(arguments: argparse.Namespace) -> "Declarations":
    """Of a server that cannot be asked only its data directory can be looked at."""
    import os

    import msgspec

    from eventpost.app.doctor.declarations import Declarations
    from eventpost.client.discovery import DATA_VARIABLE
    from eventpost.config.settings import ServerSettings, Settings

    data = arguments.data_dir or os.environ.get(DATA_VARIABLE) or ServerSettings().data
    server = msgspec.structs.replace(ServerSettings(), data=data)
    return Declarations(settings=msgspec.structs.replace(Settings(), server=server))


def _server(error: "EventpostError") -> "Subject":
    from eventpost.app.doctor.settled import faulty
    from eventpost.diagnosis.doctor.climbing import Subject

    return Subject(kind="server", name="server", steps=[("route", lambda: faulty(error))])


# --- what is printed ------------------------------------------------------------------------------


def _print(examination: "Examination") -> None:
    broken = examination.broken
    verdict = "healthy"
    if broken is not None and broken.explanation is not None:
        verdict = f"{broken.explanation.code} {broken.explanation.title}"
    output.line(f"{examination.kind} {output.plain(examination.name)}: {verdict}")
    for each in examination.rungs:
        _print_rung(each)
    if broken is not None:
        good = ", ".join(examination.proven) or "nothing"
        output.wrapped(f"proven good: {good}", indent="  ")
    output.line()


def _print_rung(rung: "Rung") -> None:
    sign = SIGNS[rung.state.value]
    _print_detail(f"  {sign:<8} {rung.name:<15} ", output.plain(rung.detail))
    found = rung.explanation
    if found is None:
        return
    if rung.state.value == "warning":
        output.line(f"           {found.code} {found.title}")
    for name, text in (("cause", found.cause), ("check", found.check), ("fix", found.fix)):
        output.wrapped(f"{name}: {text}", indent="           ")


def _print_detail(head: str, detail: str) -> None:
    import textwrap

    lines = textwrap.wrap(
        detail, 100, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
    )
    for line in lines or [head.rstrip()]:
        output.line(line)


def _summary(examinations: "list[Examination]") -> str:
    broken = sum(not each.is_healthy for each in examinations)
    warned = sum(bool(each.warnings) for each in examinations)
    told = f"{output.count(len(examinations), 'thing')} examined"
    if not broken and not warned:
        return f"{told}: nothing is broken."
    warnings = f", {output.count(warned, 'has a warning', 'have warnings')}" if warned else ""
    return f"{told}: {output.count(broken, 'is broken', 'are broken')}{warnings}."


def _requirements(found: "Declarations", arguments: argparse.Namespace) -> int:
    from eventpost.app.doctor import requirements

    needs = requirements.needs(found, requirements.addresses_of)
    if arguments.json:
        output.json({"requirements": [_need(each) for each in needs]})
        return EXIT_DONE
    for each in needs:
        output.line(f"{each.name} ({each.kind})")
        output.fields(
            {
                "  used by": list(each.used_by),
                "  reaches": [str(peer) for peer in each.peers],
                "  here they are": [
                    f"{host} {', '.join(addresses) or 'unknown'}"
                    for host, addresses in each.addresses.items()
                ],
                "  rights": list(each.rights),
            }
        )
        output.line()
    if not needs:
        output.note("Nothing is declared that reaches beyond this machine.")
    return EXIT_DONE


def _need(need: "Need") -> dict[str, object]:
    return {
        "name": need.name,
        "kind": need.kind,
        "usedBy": list(need.used_by),
        "hosts": [
            {
                "host": peer.host,
                "port": peer.port,
                "addresses": list(need.addresses.get(peer.host, ())),
            }
            for peer in need.peers
        ],
        "rights": list(need.rights),
    }
