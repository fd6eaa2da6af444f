"""Whether a queue of SQS can be used, found out without writing or taking anything.

Layer: queues. What we may do with its messages is another question: `sqs.permissions`.
"""

from collections.abc import Mapping, Sequence

import msgspec

from eventpost.core.outcomes import Failed, Stage
from eventpost.queues.interfaces import Rung
from eventpost.queues.sqs import refusals
from eventpost.queues.sqs.service import Service

_ON_THE_WAY = ("credentials", "name", "connect", "tls", "authentication")
_RUNG_OF_STAGE = {
    Stage.SETTINGS: "settings",
    Stage.CREDENTIALS: "credentials",
    Stage.NAME: "name",
    Stage.CONNECT: "connect",
    Stage.PROXY: "connect",
    Stage.TLS: "tls",
}
_COUNTS = (
    ("ApproximateNumberOfMessages", "waiting"),
    ("ApproximateNumberOfMessagesNotVisible", "under lease"),
    ("ApproximateNumberOfMessagesDelayed", "delayed"),
)


class RedrivePolicy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """When SQS itself moves a message to a dead-letter queue."""

    dead_letter_target_arn: str = ""
    max_receive_count: int = 0


def probe(service: Service) -> Sequence[Rung]:
    """The rungs in order, up to the first that does not hold."""
    url = service.url("probe", may_create=False)
    if isinstance(url, Failed):
        return _not_found(url, service)
    answer = service.call("probe", "get_queue_attributes", AttributeNames=["All"])
    if not isinstance(answer, Failed):
        queue = Rung(name="queue", detail=_described(answer.get("Attributes", {})))
    elif answer.evidence.code in refusals.DENIED:
        queue = Rung(name="queue", detail="we may not read its attributes, and need not")
    else:
        return _up_to(answer, service)
    return [*_passed(_ON_THE_WAY, service), queue]


def redrive_policy(attributes: Mapping[str, str]) -> RedrivePolicy | None:
    """The policy in a queue's attributes; None when messages stay in the queue."""
    try:
        text = attributes.get("RedrivePolicy", "")
        # Emulators write the count as text.
        policy = msgspec.json.decode(text, type=RedrivePolicy, strict=False)
    except msgspec.MsgspecError:
        return None
    return policy if policy.max_receive_count else None


def redrive_warning(service: Service, receives_max: int) -> str:
    """Why a bound of receives is never reached; "" when it is, or when that cannot be found out."""
    answer = service.call(
        "probe", "get_queue_attributes", AttributeNames=["QueueArn", "RedrivePolicy"]
    )
    policy = None if isinstance(answer, Failed) else redrive_policy(answer.get("Attributes", {}))
    if policy is None or receives_max <= policy.max_receive_count:
        return ""
    most = policy.max_receive_count
    return (
        f"receives_max is {receives_max}, but SQS moves a message away after {most} receives, so "
        f"that it never becomes a dead letter here: give receives_max at most {most}"
    )


def _not_found(failed: Failed, service: Service) -> list[Rung]:
    if failed.evidence.code in refusals.NO_SUCH_QUEUE and service.may_create:
        queue = Rung(name="queue", detail="it does not exist, and is made when it is first used")
        return [*_passed(_ON_THE_WAY, service), queue]
    return _up_to(failed, service)


def _up_to(failed: Failed, service: Service) -> list[Rung]:
    """What must have held for the request to come as far as it did, and what did not."""
    stage = failed.evidence.stage
    name = _RUNG_OF_STAGE.get(stage, "queue" if stage is Stage.ANSWER else "authentication")
    if failed.evidence.code in refusals.DENIED:
        name = "authorization"
    end = _ON_THE_WAY.index(name) if name in _ON_THE_WAY else len(_ON_THE_WAY)
    passed = () if name == "settings" else _ON_THE_WAY[:end]
    return [*_passed(passed, service), Rung(name=name, failed=failed)]


def _passed(names: Sequence[str], service: Service) -> list[Rung]:
    details = {"credentials": service.credential, "connect": service.endpoint}
    is_plain = service.endpoint.startswith("http://")
    return [
        Rung(name=name, detail=details.get(name, ""))
        for name in names
        if not (name == "tls" and is_plain)
    ]


def _described(attributes: Mapping[str, str]) -> str:
    told = [f"{attributes[name]} {what}" for name, what in _COUNTS if name in attributes]
    if attributes.get("KmsMasterKeyId"):
        told.append(f"encrypted with the key {attributes['KmsMasterKeyId']}")
    policy = redrive_policy(attributes)
    if policy is None:
        told.append("no dead-letter queue of its own")
    else:
        told.append(
            f"SQS moves a message to {policy.dead_letter_target_arn} after "
            f"{policy.max_receive_count} receives (keep receives_max at or below that)"
        )
    return ", ".join(told)
