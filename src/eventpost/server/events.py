"""Single events: where one is now, and how it came there."""

from eventpost.registry import forms
from eventpost.registry.models import StoryList, TraceQuery
from eventpost.server import views
from eventpost.server.routes import Call, Subject

subject = Subject("events")


@subject.get("/events/{id:path}/trace")
async def trace_event(call: Call[TraceQuery, None]) -> StoryList:
    """Tell one event's whole story: who matched, each attempt, where it is now.

    Ids are not unique; all events of that id are told, newest first.
    """
    since_ms = forms.time_ms(call.query.since, field="since", now_ms=call.app.now_ms())
    if call.query.topic is not None:
        call.app.topic(call.query.topic)
    stories = await call.app.trace(call.path["id"], call.query.topic, since_ms)
    return StoryList(value=[views.story(story) for story in stories])
