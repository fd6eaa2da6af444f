"""Connections: named settings of a broker or an account, shared by sources and subscriptions."""

import msgspec

from eventpost.core.sources import Connection
from eventpost.credentials.reports import Report
from eventpost.registry import declarations, forms, shapes
from eventpost.registry.declarations import ConnectionDeclaration
from eventpost.registry.models import ConnectionList, ConnectionView, CredentialsView
from eventpost.server.ports import AppPort
from eventpost.server.routes import Call, Subject

subject = Subject("connections")


@subject.get("/connections")
async def list_connections(call: Call[None, None]) -> ConnectionList:
    """List all connections, and what uses each."""
    return ConnectionList(value=[view(call.app, each) for each in call.app.connections.all()])


@subject.post("/connections", status=201)
async def create_connection(call: Call[None, ConnectionDeclaration]) -> ConnectionView:
    """Create a connection.

    Its settings are checked by their kind; nothing is connected to. 409 when the name is taken.
    """
    draft = declarations.to_connection(call.body, limits=call.app.settings.limits)
    return view(call.app, await call.app.connections.create(draft))


@subject.get("/connections/{name}")
async def show_connection(call: Call[None, None]) -> ConnectionView:
    """Show one connection and what uses it. Secrets are references."""
    return view(call.app, call.app.connections.get(call.name))


@subject.put("/connections/{name}")
async def replace_connection(call: Call[None, ConnectionView]) -> ConnectionView:
    """Replace a connection's settings.

    What uses it goes on over a new one; what is under way ends over the old one, and nothing is
    lost. The kind cannot change while something uses it.
    """
    names = ConnectionDeclaration.__struct_fields__
    declared = ConnectionDeclaration(**{name: getattr(call.body, name) for name in names})
    return await _update(call.app, call.app.connections.get(call.name), declared)


@subject.patch("/connections/{name}")
async def update_connection(call: Call[None, dict[str, object]]) -> ConnectionView:
    """Change some settings of a connection, as a JSON merge patch.

    A setting that is null goes back to its default.
    """
    current = call.app.connections.get(call.name)
    declared = declarations.patched(declarations.from_connection(current), call.body)
    return await _update(call.app, current, declared)


@subject.delete("/connections/{name}")
async def delete_connection(call: Call[None, None]) -> None:
    """Delete a connection. 409 while something uses it."""
    await call.app.connections.delete(call.name)


def view(app: AppPort, connection: Connection) -> ConnectionView:
    declared = declarations.from_connection(connection)
    return ConnectionView(
        **{name: getattr(declared, name) for name in declared.__struct_fields__},
        created_time=forms.time_text(connection.created_ms),
        used_by=app.connections.users(connection.name),
        credentials=_credentials(app.connections.credentials(connection.name)),
    )


def _credentials(report: Report | None) -> CredentialsView | None:
    if report is None:
        return None
    expires_ms = report.expires_ms
    return CredentialsView(
        system=report.system,
        link=report.link,
        identity=report.identity,
        is_renewed=report.is_renewed,
        expires_time="" if expires_ms is None else forms.time_text(expires_ms),
        region=report.region,
        region_from=report.region_from,
        endpoint=report.endpoint,
    )


async def _update(
    app: AppPort, current: Connection, declared: ConnectionDeclaration
) -> ConnectionView:
    if declared.name not in ("", current.name):
        raise shapes.InvalidField(
            "InvalidField",
            f"{current.name} cannot become {declared.name}.",
            fix="A connection keeps its name; create another one instead.",
        )
    named = msgspec.structs.replace(declared, name=current.name, kind=declared.kind or current.kind)
    draft = declarations.to_connection(named, limits=app.settings.limits)
    return view(app, await app.connections.update(current.name, draft))
