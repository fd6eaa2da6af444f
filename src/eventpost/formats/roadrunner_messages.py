"""The message format `roadrunner`: jobs of RoadRunner, as its SQS plugin sends and takes them.

Layer: formats. The form of a job is in `roadrunner`, what event it is in `roadrunner_events`.
"""

from eventpost.core.events import Delivery, Event
from eventpost.formats import roadrunner, roadrunner_events
from eventpost.formats.messages import Incoming, Origin, Outgoing, Target, time_text


def decode(message: Incoming, target: Target) -> list[Event]:
    """The event of a job; a message of anybody else is a job of the plugin's default name. Raises
    InvalidEvent for a job that is no event of the schema."""
    sent_ms = message.sent_ms or target.now_ms()
    time_text(sent_ms)
    job = roadrunner.decode(
        message.body,
        message.attributes,
        message.system_attributes,
        message_id=message.message_id or target.new_id(),
        pipeline=roadrunner.pipeline(target.queue),
    )
    return [roadrunner_events.event(job, target.schema, target.topic_resource, sent_ms)]


def encode(given: Delivery, origin: Origin) -> Outgoing:
    """The job of an event. It carries its trace and its content in the plugin's six attributes."""
    job = roadrunner_events.job(
        given.event.wire,
        origin.input_schema,
        given.event.trace,
        pipeline=roadrunner.pipeline(origin.queue),
        priority=roadrunner.PRIORITY_DEFAULT,
    )
    return Outgoing(
        body=job.payload,
        attributes=dict(roadrunner.encode(job)),
        delay_s=float(job.delay_s),
        priority=job.priority,
    )
