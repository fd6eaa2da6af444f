"""Dramatiq on Amazon SQS.

Layer: workers.

    import dramatiq
    from eventpost.workers.sqs import SQSBroker

    dramatiq.set_broker(SQSBroker(region="eu-central-1"))
"""

from pathlib import Path
from typing import Literal

from dramatiq import Middleware

from eventpost.credentials import aws
from eventpost.queues import tasks
from eventpost.queues.kinds import Services, check_library
from eventpost.queues.sqs import address, forms
from eventpost.queues.sqs.queue import SqsQueue
from eventpost.queues.sqs.settings import Options
from eventpost.workers.broker import LeaseBroker
from eventpost.workers.limits import WorkerLimits


class SQSBroker(LeaseBroker):
    """Queues of one account and region.

    Without keys the AWS SDK's own chain finds who we are, untouched; half a set of keys is an
    error. See LeaseBroker for the words that all brokers share.
    """

    def __init__(
        self,
        *,
        region: str = "",
        endpoint_url: str = "",
        access_key_id: str = "",
        secret_access_key: str = "",
        session_token: str = "",
        profile: str = "",
        namespace: str = "",
        lease_s: float = 60.0,
        ledger: str | Path | None = None,
        create: Literal["auto", "never"] = "auto",
        receives_max: int = 10,
        middleware: list[Middleware] | None = None,
        limits: WorkerLimits | None = None,
    ) -> None:
        keys = aws.given(access_key_id, secret_access_key, session_token)
        settings = aws.AwsConnection(region=region, endpoint_url=endpoint_url, profile=profile)
        super().__init__(
            SqsTransport(settings, keys, create=create),
            namespace=namespace,
            lease_s=lease_s,
            ledger=ledger,
            receives_max=receives_max,
            middleware=middleware,
            limits=limits,
        )


class SqsTransport:
    """Implements `workers.transport.Transport`."""

    system = forms.SYSTEM
    resends_delayed = True

    def __init__(
        self,
        settings: aws.AwsConnection,
        keys: aws.Keys | None,
        *,
        create: Literal["auto", "never"],
    ) -> None:
        from eventpost.queues import sqs

        check_library("sqs", sqs)
        self._session = aws.session(settings, keys)
        attributes: dict[str, str | int | bool] = {"MessageRetentionPeriod": tasks.RETENTION_S}
        is_auto = create == "auto"
        self._options = Options(create=is_auto, attributes=attributes if is_auto else {})

    def name_of(self, queue: str) -> str:
        return tasks.sqs_name(queue)

    def open(self, name: str) -> SqsQueue:
        return SqsQueue(self._session, address.place(name), self._options, Services())

    def wire(self, body: bytes) -> bytes:
        return tasks.sqs_body(body)
