"""The ladder of a Lambda function: the way to Lambda, and whether we may invoke it. Not invoked.

Layer: app.
"""

import msgspec

from eventpost.app.doctor.queues import aws_way
from eventpost.app.doctor.settled import settings
from eventpost.core.outcomes import Failed
from eventpost.core.subscriptions import Endpoint
from eventpost.credentials import aws as sessions
from eventpost.credentials.aws_failures import failure, statement, with_detail
from eventpost.credentials.aws_settings import AwsConnection
from eventpost.destinations.lambda_function import SYSTEM, check_endpoint, region_of
from eventpost.diagnosis.doctor.bounds import BOUNDS
from eventpost.diagnosis.doctor.climbing import Step
from eventpost.diagnosis.doctor.ladder import Seen

_DENIED = ("AccessDenied", "AccessDeniedException")


def steps_of(endpoint: Endpoint, connection: AwsConnection) -> list[tuple[str, Step]]:
    """The ladder of a function; `DryRun` asks whether we might invoke it, and no more."""
    region = region_of(endpoint)
    if region:
        connection = msgspec.structs.replace(connection, region=region)
    session = sessions.session(connection)

    def settled() -> str:
        check_endpoint(endpoint)
        return f"the function {endpoint.address}"

    def authorization() -> Seen:
        try:
            session.request(
                SYSTEM,
                "invoke",
                wait_s=BOUNDS.answer_s - connection.request_timeout_s,
                attempts_max=1,
                FunctionName=endpoint.address,
                InvocationType="DryRun",
            )
        except Exception as error:  # noqa: BLE001 - the border: what botocore raises is evidence
            found = failure(error, "invoke", system=SYSTEM, credential=session.report().link)
            if found.code in _DENIED:
                allows = statement("lambda:InvokeFunction", found.detail, endpoint.address)
                found = with_detail(found, allows)
            return Failed(found)
        return "we may invoke it"

    return [
        ("settings", settings(settled)),
        *aws_way(session, SYSTEM),
        ("authorization", authorization),
    ]
