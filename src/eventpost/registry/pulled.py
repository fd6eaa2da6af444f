"""Connections and sources: from their declarations to the core's values, and back."""

from eventpost.core import notation, source_bounds
from eventpost.core.limits import LIMITS, Limits
from eventpost.core.sources import Connection, InputMapping, Source
from eventpost.registry.declared import ConnectionDeclaration, SourceDeclaration, format_named


def to_connection(declared: ConnectionDeclaration, *, limits: Limits = LIMITS) -> Connection:
    """The checked draft of a connection; its kind checks the settings. Raises InvalidRequest."""
    draft = Connection(
        name=declared.name, kind=declared.kind, created_ms=0, settings=declared.settings
    )
    source_bounds.check_connection(draft, limits)
    return draft


def from_connection(connection: Connection) -> ConnectionDeclaration:
    """What would declare `connection`: it holds no secret, only references."""
    return ConnectionDeclaration(
        name=connection.name,
        kind=connection.kind,
        settings=connection.settings,
    )


def to_source(declared: SourceDeclaration, *, limits: Limits | None = LIMITS) -> Source:
    """The checked draft of a source; ids and times are the application's to give, and the queue
    system checks the options. Without `limits` the bounds are not checked. Raises InvalidRequest
    naming the field."""
    draft = Source(
        id=0,
        topic_id=0,
        name=declared.name,
        created_ms=0,
        kind=declared.kind,
        queue=declared.queue,
        connection=declared.connection or None,
        options=declared.options,
        format=format_named(declared.format, "format"),
        mapping=InputMapping(
            fields=_lower(declared.input_mapping_fields),
            defaults=_lower(declared.input_mapping_default_values),
        ),
        lease_s=notation.parse_duration_ms(declared.lease) / 1000,
        prefetch=declared.prefetch,
        receives_max=declared.receives_max,
    )
    if limits is not None:
        source_bounds.check_source(draft, limits)
    return draft


def from_source(source: Source, *, topic: str = "") -> SourceDeclaration:
    """What would declare `source`."""
    return SourceDeclaration(
        name=source.name,
        topic=topic,
        kind=source.kind,
        connection=source.connection,
        queue=source.queue,
        options=source.options,
        format=source.format.value,
        input_mapping_fields=source.mapping.fields,
        input_mapping_default_values=source.mapping.defaults,
        lease=notation.duration_text(round(source.lease_s * 1000)),
        prefetch=source.prefetch,
        receives_max=source.receives_max,
    )


def completed(declared: SourceDeclaration, *, limits: Limits | None = None) -> SourceDeclaration:
    """In the form in which the server shows it. Raises InvalidRequest."""
    return from_source(to_source(declared, limits=limits), topic=declared.topic)


def _lower(mapping: dict[str, str]) -> dict[str, str]:
    """`az` writes these names in lower case, Event Grid in camel case."""
    return {name.lower(): value for name, value in mapping.items()}
