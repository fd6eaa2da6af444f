"""Sources: queues from which messages are pulled into topics."""

import msgspec

from eventpost.core.sources import Source, SourceFailure
from eventpost.registry import declarations, forms, shapes
from eventpost.registry.declarations import SourceDeclaration
from eventpost.registry.models import (
    SourceCounts,
    SourceFailureView,
    SourceList,
    SourcesOf,
    SourceView,
)
from eventpost.server import views
from eventpost.server.explanations import cause_and_fix
from eventpost.server.ports import AppPort
from eventpost.server.routes import Call, Subject

subject = Subject("sources")


@subject.get("/sources")
async def list_sources(call: Call[SourcesOf, None]) -> SourceList:
    """List the sources of one topic or of all."""
    return SourceList(
        value=[view(call.app, each) for each in call.app.sources.all(call.query.topic)]
    )


@subject.post("/sources", status=201)
async def create_source(call: Call[None, SourceDeclaration]) -> SourceView:
    """Create a source, which begins to pull at once.

    A message is settled in its queue once the events that it became are on disk, and not before.
    """
    if not call.body.topic:
        raise shapes.InvalidField(
            "InvalidField", "topic is missing.", fix="Give the topic that the source feeds."
        )
    topic = call.app.topic(call.body.topic)
    draft = declarations.to_source(call.body, limits=call.app.settings.limits)
    return view(call.app, await call.app.sources.create(topic, draft))


@subject.get("/sources/{name}")
async def show_source(call: Call[None, None]) -> SourceView:
    """Show one source and how it is."""
    return view(call.app, call.app.sources.get(call.name))


@subject.put("/sources/{name}")
async def replace_source(call: Call[None, SourceView]) -> SourceView:
    """Replace what a source declares.

    It goes on with the new settings; what it holds is published and settled as before. What was
    shown can be sent back: what only the server knows is ignored.
    """
    names = SourceDeclaration.__struct_fields__
    declared = SourceDeclaration(**{name: getattr(call.body, name) for name in names})
    return await _update(call.app, call.app.sources.get(call.name), declared)


@subject.patch("/sources/{name}")
async def update_source(call: Call[None, dict[str, object]]) -> SourceView:
    """Change some fields of a source, as a JSON merge patch.

    A field that is null goes back to its default.
    """
    current = call.app.sources.get(call.name)
    declared = declarations.from_source(current, topic=_topic(call.app, current))
    return await _update(call.app, current, declarations.patched(declared, call.body))


@subject.delete("/sources/{name}")
async def delete_source(call: Call[None, None]) -> None:
    """Delete a source. What it took stays in its topic; what it holds goes back to its queue."""
    await call.app.sources.delete(call.name)


@subject.post("/sources/{name}/pause")
async def pause_source(call: Call[None, None]) -> SourceView:
    """Receive no more. What was received is still published and settled."""
    return view(call.app, await call.app.sources.set_paused(call.name, is_paused=True))


@subject.post("/sources/{name}/resume")
async def resume_source(call: Call[None, None]) -> SourceView:
    """Receive again."""
    return view(call.app, await call.app.sources.set_paused(call.name, is_paused=False))


def view(app: AppPort, source: Source) -> SourceView:
    declared = declarations.from_source(source, topic=_topic(app, source))
    report = app.sources.report(source.name)
    return SourceView(
        state=report.state.value,
        failures=[_failure(each) for each in report.failures],
        warning=report.warning,
        counts=SourceCounts(
            **{name: getattr(report, name) for name in SourceCounts.__struct_fields__}
        ),
        **{name: getattr(declared, name) for name in declared.__struct_fields__},
        created_time=forms.time_text(source.created_ms),
        is_paused=source.is_paused,
    )


def _failure(failure: SourceFailure) -> SourceFailureView:
    cause, fix = cause_and_fix(failure.finding)
    return SourceFailureView(
        operation=failure.operation,
        time=forms.time_text(failure.at_ms),
        finding=failure.finding,
        cause=cause,
        fix=fix,
        evidence=views.evidence(failure.evidence),
    )


def _topic(app: AppPort, source: Source) -> str:
    return next((each.name for each in app.topics() if each.id == source.topic_id), "")


async def _update(app: AppPort, current: Source, declared: SourceDeclaration) -> SourceView:
    topic = _topic(app, current)
    if declared.topic not in ("", topic) or declared.name not in ("", current.name):
        raise shapes.InvalidField(
            "InvalidField",
            f"{current.name} of {topic} cannot become {declared.name} of {declared.topic}.",
            fix="A source keeps its name and topic; create another one instead.",
        )
    named = msgspec.structs.replace(declared, name=current.name)
    draft = declarations.to_source(named, limits=app.settings.limits)
    return view(app, await app.sources.update(current.name, draft))
