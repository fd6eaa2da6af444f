"""What real services answered when they refused, each with the public place where it is told.

Codes and texts are those of the source, and so are whole bodies where the source has them (`in
full`); ids of requests and traces may be others. Where a source has no HTTP status, it is the one
that the same service gives elsewhere with the same code. Where people show only what their client
printed of an answer, code and text stand in the envelope of the service's protocol, as its
documentation has it:

    SQS     https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-making-api-requests-json.html
    Lambda  https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
    S3      https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    STS     https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html
    Entra   https://learn.microsoft.com/entra/identity-platform/reference-error-codes

An answer that nobody has published does not belong here. The two of `SQS_ERRORS` are the weakest:
nobody shows one that SQS gave, as far as we found, and their sentences are the documentation's.
"""

import base64
import json
from dataclasses import dataclass
from xml.sax.saxutils import escape

from eventpost.testing.receiver import Answer

GITHUB = "https://github.com"
LOCALSTACK = f"{GITHUB}/localstack/localstack/blob/master/tests/aws/services"
"""Its snapshots are recorded from Amazon's own services, with the day on which that was."""
SQS_API = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference"
SQS_ERRORS = "https://docs.aws.amazon.com/sdk-for-python/v1/reference/clients/sqs/errors"
LAMBDA_API = "https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html"
S3_ERRORS = "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
ENTRA_CODES = "https://learn.microsoft.com/entra/identity-platform/reference-error-codes"
SES = "https://docs.aws.amazon.com/ses/latest/DeveloperGuide/smtp-response-codes.html"
GMAIL = "https://support.google.com/a/answer/3726730"

WRONG_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS "
    "Secret Access Key and signing method. Consult the service documentation for details."
)
REQUEST_ID = "2f14d052-7b67-5e76-89a8-8cc7810c3906"
SQS_RECORDED = f"{LOCALSTACK}/sqs/test_sqs.snapshot.json"


@dataclass(frozen=True, slots=True)
class Case:
    """An answer, who gets it on what, and the finding that it must lead to."""

    finding: str
    asked: str
    """The service, and what is asked of it: `sqs send`."""
    answer: Answer | str
    """A line, for a mail server."""
    source: str

    @property
    def name(self) -> str:
        return f"{self.finding} {self.asked}"


# --- envelopes ------------------------------------------------------------------------------------


def sqs(code: str, message: str, *, shape: str = "", status: int = 400) -> Answer:
    """The JSON protocol: the name of today in the body, that of the query protocol in a header."""
    name = shape or code.rpartition(".")[2]
    body = json.dumps({"__type": f"com.amazonaws.sqs#{name}", "message": message})
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "x-amzn-query-error": f"{code};{'Receiver' if status >= 500 else 'Sender'}",
    }
    return Answer(status, body.encode(), headers)


def query(code: str, message: str, *, status: int = 400) -> Answer:
    """The query protocol, in which whatever stands before the service may answer any client."""
    return in_full(
        status,
        '<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">'
        f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message>"
        f"<Detail/></Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>",
    )


def coral(name: str, message: str, *, status: int = 400) -> Answer:
    """What the layer before every service with AWS's JSON protocol answers."""
    body = json.dumps({"__type": f"com.amazon.coral.service#{name}", "message": message})
    return Answer(status, body.encode(), {"Content-Type": "application/x-amz-json-1.0"})


def in_full(status: int, body: str, content_type: str = "text/xml") -> Answer:
    return Answer(status, body.encode(), {"Content-Type": content_type})


def invoked(status: int, code: str, body: str) -> Answer:
    headers = {"x-amzn-ErrorType": code, "x-amzn-RequestId": REQUEST_ID}
    return Answer(status, body.encode(), headers)


def function_error(payload: dict[str, object], log: str = "") -> Answer:
    """200, and a header: the function has failed, and not Lambda."""
    headers = {"X-Amz-Function-Error": "Unhandled", "x-amzn-RequestId": REQUEST_ID}
    headers["X-Amz-Log-Result"] = base64.b64encode(log.encode()).decode()
    return Answer(200, json.dumps(payload).encode(), headers)


def s3(status: int, code: str, message: str, more: str = "", **headers: str) -> Answer:
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{escape(message)}</Message>{more}"
        "<RequestId>5WYFY5P28HFWHTHX</RequestId><HostId>zRby</HostId></Error>"
    )
    return Answer(status, body.encode(), {"Content-Type": "application/xml", **headers})


def sts(code: str, message: str, *, status: int = 400) -> Answer:
    return in_full(
        status,
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">\n  <Error>\n'
        f"    <Type>Sender</Type>\n    <Code>{code}</Code>\n"
        f"    <Message>{escape(message)}</Message>\n  </Error>\n"
        f"  <RequestId>{REQUEST_ID}</RequestId>\n</ErrorResponse>\n",
    )


def entra(error: str, number: int, text: str, *, status: int = 400, **more: str) -> Answer:
    trace = "e9a899ac-eed7-4828-a580-2c0b8ffb2100"
    correlation = "22a58ae7-fe96-44eb-8610-5eeb970d5089"
    when = "2023-06-07 08:06:56Z"
    told = f"AADSTS{number}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}"
    body = {
        "error": error,
        "error_description": f"{told}\r\nTimestamp: {when}",
        "error_codes": [number],
        "timestamp": when,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={number}",
        **more,
    }
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


# --- Amazon SQS -----------------------------------------------------------------------------------

SQS = (
    Case(
        "EP4101",
        "sqs send",
        sqs(
            "AccessDenied",
            "User: arn:aws:iam::0123456789012:user/test is not authorized to perform: "
            "sqs:sendmessage on resource: arn:aws:sqs:us-west-2:0123456789012:test because no "
            "identity-based policy allows the sqs:sendmessage action",
            shape="AccessDeniedException",
            status=403,
        ),
        f"{GITHUB}/aws/serverless-application-model/issues/3633",
    ),
    Case(
        "EP4101",
        "sqs receive",
        sqs(
            "AccessDenied",
            "Access to the resource https://sqs.us-east-1.amazonaws.com/ is denied.",
            shape="AccessDeniedException",
            status=403,
        ),
        f"{GITHUB}/getlift/lift/issues/236",
    ),
    Case(
        "EP4102",
        "sqs receive",
        sqs(
            "KMS.AccessDeniedException",
            "The ciphertext refers to a customer master key that does not exist, does not exist in "
            "this region, or you are not allowed to access. (Service: AWSKMS; Status Code: 400; "
            "Error Code: AccessDeniedException; Request ID: b284a4f4-e245-4843-96dc-52922101df67; "
            "Proxy: null)",
            shape="KmsAccessDenied",
        ),
        f"{GITHUB}/opensearch-project/data-prepper/issues/2422",
    ),
    Case(
        "EP4103",
        "sqs send",
        sqs(
            "KMS.NotFoundException",
            "The request was rejected because the specified entity or resource could not be found.",
            shape="KmsNotFound",
        ),
        f"{SQS_ERRORS}/KmsNotFound/",
    ),
    Case(
        "EP4104",
        "sqs send",
        in_full(
            403,
            '<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/'
            '"><Error><Type>Sender</Type><Code>RequestThrottled</Code><Message>Request throttled '
            "because message visibility configuration was updated too recently. Wait a short while "
            "and then retry the operation.</Message><Detail/></Error><RequestId>"
            "0e53ed64-5cf0-5d7f-8c22-b5f35143871d</RequestId></ErrorResponse>",
        ),
        f"{GITHUB}/erlcloud/erlcloud/pull/686",
    ),
    Case(
        "EP4105",
        "sqs send",
        sqs(
            "KMS.ThrottlingException",
            "Amazon Web Services KMS throttles requests for the following conditions.",
            shape="KmsThrottled",
        ),
        f"{SQS_ERRORS}/KmsThrottled/",
    ),
    Case(
        "EP4106",
        "sqs receive",
        sqs(
            "AWS.SimpleQueueService.NonExistentQueue",
            "The specified queue does not exist.",
            shape="QueueDoesNotExist",
        ),
        f"{SQS_API}/API_ReceiveMessage.html",
    ),
    Case(
        "EP4107",
        "sqs create",
        sqs(
            "AWS.SimpleQueueService.QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with "
            "the same name.",
        ),
        f"{GITHUB}/hashicorp/terraform-provider-aws/pull/3113",
    ),
    Case(
        "EP4108",
        "sqs create",
        sqs(
            "InvalidAttributeName",
            "Unknown Attribute FifoQueue.",
        ),
        f"{GITHUB}/aws/aws-sdk-php/issues/1331",
    ),
    Case(
        "EP4110",
        "sqs receive",
        in_full(
            403,
            '<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/'
            '"><Error><Type>Sender</Type><Code>OverLimit</Code><Message>Too many messages have '
            "been received without being deleted.\nPlease delete your received messages or let "
            "them timeout before receiving more.</Message><Detail/></Error><RequestId>"
            "968a5682-4f94-594b-b799-1dceb923e3a0</RequestId></ErrorResponse>",
        ),
        f"{GITHUB}/Cbsoftware/pressureNET-server/issues/74",
    ),
    Case(
        "EP4111",
        "sqs send",
        sqs(
            "InvalidMessageContents",
            "Invalid binary character '#x7' was found in the message body, the set of allowed "
            "characters is #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | "
            "[#x10000-#x10FFFF].",
        ),
        f"{GITHUB}/asim/nitro-plugins/issues/437",
    ),
    Case(
        "EP4112",
        "sqs send",
        sqs(
            "InvalidParameterValue",
            "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.",
            shape="InvalidParameterValueException",
        ),
        SQS_RECORDED,
    ),
    Case(
        "EP4112",
        "sqs send",
        sqs(
            "AWS.SimpleQueueService.BatchRequestTooLong",
            "Batch requests cannot be longer than 262144 bytes. You have sent 262145 bytes.",
        ),
        SQS_RECORDED,
    ),
    Case(
        "EP4115",
        "sqs send",
        sqs(
            "InvalidParameterValue",
            "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter "
            "that is not valid for this queue type.",
            shape="InvalidParameterValueException",
        ),
        SQS_RECORDED,
    ),
    Case(
        "EP4117",
        "sqs receive",
        in_full(
            404,  # https://github.com/aws/aws-sdk-net/issues/437
            '<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/'
            '"><Error><Type>Sender</Type><Code>InvalidAddress</Code><Message>The address '
            "https://queue.amazonaws.com/ is not valid for this endpoint.</Message><Detail/>"
            "</Error><RequestId>7b75f49f-f99b-5f81-91ae-a0684f8d1674</RequestId></ErrorResponse>",
        ),
        f"{GITHUB}/jegesh/python-sqs-listener/issues/30",
    ),
    Case(
        "EP4119",
        "sqs receive",
        in_full(
            500,
            '<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/'
            '"><Error><Type>Receiver</Type><Code>InternalError</Code><Message>We encountered an '
            "internal error. Please try again.</Message><Detail/></Error><RequestId>"
            "40b6b208-3ba4-5e38-a31e-e1f96450d403</RequestId></ErrorResponse>",
        ),
        f"{GITHUB}/celery/celery/issues/4988",
    ),
    Case(
        "EP4119",
        "sqs send",
        coral(
            "ServiceUnavailable",
            "The request has failed due to a temporary failure of the server.",
            status=503,
        ),
        f"{SQS_API}/CommonErrors.html",
    ),
    Case(
        "EP4511",
        "sqs send",
        coral(
            "ExpiredTokenException",
            "The security token included in the request is expired",
            status=403,
        ),
        f"{SQS_API}/CommonErrors.html",
    ),
    Case(
        "EP4520",
        "sqs send",
        coral(  # `InvalidClientTokenId` of the query protocol, which is what the source shows
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            status=403,
        ),
        f"{GITHUB}/aws/aws-sdk-php-symfony/issues/41",
    ),
    Case(
        "EP4520",
        "sqs receive",
        query(
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
            status=403,
        ),
        f"{GITHUB}/aws/aws-sdk-php-symfony/issues/41",
    ),
    Case(
        "EP4518",
        "sqs receive",
        query(
            "SignatureDoesNotMatch",
            WRONG_SIGNATURE,
            status=403,
        ),
        f"{GITHUB}/erlcloud/erlcloud/issues/113",
    ),
    Case(
        "EP4119",
        "sqs send",
        in_full(503, "<ServiceUnavailableException/>"),
        f"{GITHUB}/celery/celery/issues/4159",
    ),
    Case(
        "EP4518",
        "sqs send",
        coral(  # `SignatureDoesNotMatch` of the query protocol, which is what the source shows
            "InvalidSignatureException",
            WRONG_SIGNATURE,
            status=403,
        ),
        f"{GITHUB}/erlcloud/erlcloud/issues/113",
    ),
    Case(
        "EP4519",
        "sqs send",
        coral(
            "InvalidSignatureException",
            "Signature expired: 20120306T074514Z is now earlier than 20120306T074556Z "
            "(20120306T080056Z - 15 min.)",
            status=403,
        ),
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html",
    ),
)

# --- AWS Lambda -----------------------------------------------------------------------------------

LAMBDA = (
    Case(
        "EP4150",
        "lambda invoke",
        function_error(
            {
                "errorMessage": "boom at invoke",
                "errorType": "ValueError",
                "requestId": "ff313550-a957-4088-9da8-68f6799f3da3",
                "stackTrace": ['  File "/var/task/app.py", line 2, in handler\n'],
            }
        ),
        f"{GITHUB}/floci-io/floci/issues/3314",
    ),
    Case(
        "EP4151",
        "lambda invoke",
        function_error(
            {
                "errorMessage": "2020-11-10T05:46:57.874Z 160788cd-45ff-4583-809f-c7e31127cb95 "
                "Task timed out after 3.07 seconds"
            }
        ),
        f"{GITHUB}/alexa-samples/skill-sample-nodejs-smarthome-switch/issues/18",
    ),
    Case(
        "EP4152",
        "lambda invoke",
        function_error(
            {
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: 59f8af4e-3e1c-4ad1-b6b9-a220f7fceb05 Error: Runtime "
                "exited with error: exit status 1",
            }
        ),
        f"{GITHUB}/floci-io/floci/issues/3314",
    ),
    Case(
        "EP4153",
        "lambda invoke",
        invoked(
            429,
            "TooManyRequestsException",
            '{"Reason":"CallerRateLimitExceeded","Type":"User","message":"Rate exceeded"}',
        ),
        f"{GITHUB}/fyoorer/ShadowClone/issues/46",
    ),
    Case(
        "EP4154",
        "lambda invoke",
        invoked(
            403,
            "AccessDeniedException",
            '{"Message":"User: arn:aws:iam::123456789012:user/user is not authorized to perform: '
            "lambda:InvokeFunction on resource: arn:aws:lambda:us-west-2:123456789012:function:"
            'my-function"}',
        ),
        "https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html",
    ),
    Case(
        "EP4156",
        "lambda invoke",
        invoked(
            409,
            "ResourceConflictException",
            '{"Type":"User","message":"The operation cannot be performed at this time. The '
            'function is currently in the following state: Pending"}',
        ),
        "https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html",
    ),
    Case(
        "EP4157",
        "lambda invoke",
        invoked(
            502,
            "KMSAccessDeniedException",
            '{"Type":"User","Message":"Lambda was unable to decrypt the environment variables '
            "because KMS access was denied. Please check the function's KMS key settings. KMS "
            "Exception: AccessDeniedExceptionKMS Message: The ciphertext refers to a customer "
            "master key that does not exist, does not exist in this region, or you are not allowed "
            'to access."}',
        ),
        f"{GITHUB}/aws/chalice/issues/1342",
    ),
    Case(
        "EP4157",
        "lambda invoke",
        invoked(
            403,
            "AccessDeniedException",
            '{"Message":"The role defined for the function cannot be assumed by Lambda."}',
        ),
        f"{GITHUB}/aws/chalice/issues/1342",
    ),
    Case(
        "EP4158",
        "lambda invoke",
        invoked(
            413,
            "RequestEntityTooLargeException",
            '{"message":"Request must be smaller than 6291456 bytes for the InvokeFunction '
            'operation"}',
        ),
        f"{GITHUB}/awslabs/aws-athena-query-federation/issues/793",
    ),
    Case(
        "EP4161",
        "lambda invoke",
        invoked(
            400,
            "InvalidRequestContentException",
            '{"Type":"User","message":"Could not parse request body into json: Unrecognized '
            "token 'value': was expecting ('true', 'false' or 'null')\\n at [Source: "
            '(byte[])\\"value\\"; line: 1, column: 11]"}',
        ),
        "https://docs.aws.amazon.com/lambda/latest/dg/invocation-sync.html",
    ),
    Case(
        "EP4162",
        "lambda invoke",
        invoked(
            500,
            "ServiceException",
            '{"Type":"Service","message":"An error occurred and the request cannot be processed."}',
        ),
        f"{GITHUB}/mentum/lambdaws/issues/49",
    ),
)

# --- Amazon S3 ------------------------------------------------------------------------------------

S3 = (
    Case(
        "EP3321",
        "s3 write",
        in_full(
            403,
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n  <Code>AccessDenied</Code>\n  '
            "<Message>Access Denied</Message>\n  <RequestId>id</RequestId>\n  <HostId>id</HostId>\n"
            "</Error>\n",
            "application/xml",
        ),
        f"{GITHUB}/aws/aws-cli/issues/813",
    ),
    Case(
        "EP3322",
        "s3 write",
        s3(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified "
            "endpoint. Please send all future requests to this endpoint.",
            "<Bucket>statement</Bucket><Endpoint>s3.amazonaws.com</Endpoint>",
            **{"x-amz-bucket-region": "us-east-1"},
        ),
        f"{GITHUB}/chilts/awssum-amazon-s3/issues/3",
    ),
    Case(
        "EP3323",
        "s3 write",
        s3(
            400,
            "KMS.DisabledException",
            "The request was rejected because the specified KMS key is not enabled.",
        ),
        S3_ERRORS,
    ),
    Case(
        "EP3324",
        "s3 write",
        s3(503, "SlowDown", "Please reduce your request rate."),
        f"{GITHUB}/pingcap/tiflash/issues/10538",
    ),
    Case(
        "EP3325",
        "s3 write",
        s3(500, "InternalError", "We encountered an internal error. Please try again."),
        S3_ERRORS,
    ),
)

# --- who we are -----------------------------------------------------------------------------------

AGENT_REFUSES = (
    '{"code":"InvalidIdInRequest","message":"CredentialsV2Request: Credentials not found",'
    '"HTTPErrorCode":400}'
)
CREDENTIALS = (
    Case(
        "EP3662",
        "entra token",
        entra(  # 400: https://docs.nais.io/security/auth/azure-ad/faq-troubleshooting/
            "invalid_grant",
            501051,
            "Application '1df771d6-ef9c-473e-af87-cafa8928e024'(testClient) is not assigned to a "
            "role for the application '8d138478-d3a3-47f5-a233-1408cd6baae4'(testBackend2)",
        ),
        f"{GITHUB}/PowershellScripts/PowershellScripts.github.io/blob/"
        "2648b055476ad8e5816ec3286bac7affc9932fc1/articles/de/Azure/azfuncmitAPI.md",
    ),
    Case(
        "EP4504",
        "aws container",
        in_full(400, AGENT_REFUSES, "application/json"),
        f"{GITHUB}/aws/amazon-ecs-agent/blob/master/agent/handlers/v2/credentials_handler.go",
    ),
    Case(
        "EP4516",
        "aws web identity",
        sts(
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://auth.mozilla.auth0.com/",
        ),
        f"{GITHUB}/mozilla-iam/mozilla-aws-cli/issues/127",
    ),
    Case(
        "EP4516",
        "aws web identity",
        sts("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", status=403),
        f"{GITHUB}/aws/aws-sdk-js-v3/issues/6225",
    ),
    Case(
        "EP4604",
        "azure managed identity",
        in_full(
            400,
            '{"error":"invalid_request","error_description":"Identity not found"}',
            "application/json",
        ),
        f"{GITHUB}/Azure/terraform-provider-azapi/issues/669",
    ),
    Case(
        "EP4606",
        "entra token",
        entra(
            "invalid_tenant",
            90002,
            "Tenant 'tenant_id' not found. Check to make sure you have the correct tenant ID and "
            "are signing into the correct cloud. Check with your subscription administrator, this "
            "may happen if there are no active subscriptions for the tenant.",
        ),
        f"{GITHUB}/microsoftgraph/windowsupdates-webapplication-sample/issues/6",
    ),
    Case(
        "EP4607",
        "entra token",
        entra(
            "unauthorized_client",
            700016,
            "Application with identifier '5005c556-e620-4297-8398-abcc239fa706' was not found in "
            "the directory 'b37c8d34-016c-4e9e-9283-56234092be50'. This can happen if the "
            "application has not been installed by the administrator of the tenant or consented to "
            "by any user in the tenant. You may have sent your authentication request to the wrong "
            "tenant.",
        ),
        ENTRA_CODES,
    ),
    Case(
        "EP4608",
        "entra token",
        entra(
            "invalid_client",
            7000215,
            "Invalid client secret provided. Ensure the secret being sent in the request is the "
            "client secret value, not the client secret ID, for a secret added to app "
            "'a8fdfbd0-da97-42d9-8f1a-fd6a7cb650b4'.",
            status=401,
        ),
        f"{GITHUB}/OfficeDev/microsoft-365-agents-toolkit/issues/8621",
    ),
    Case(
        "EP4609",
        "entra token",
        entra(
            "invalid_client",
            700213,
            "No matching federated identity record found for presented assertion subject "
            "'system:serviceaccount:xxx:yyy'. Check your federated identity credential Subject, "
            "Audience and Issuer against the presented assertion. "
            "https://learn.microsoft.com/entra/workload-id/workload-identity-federation",
            status=401,
        ),
        f"{GITHUB}/Azure/azure-workload-identity/issues/1200",
    ),
    Case(
        "EP4609",
        "entra token",
        entra(
            "invalid_client",
            7002137,
            "No matching federated identity record found for presented assertion subject "
            "'/eid1/c/pub/t/v4j5cvGGr0GRqy180BHbRw/a/9ExAW52n_ky4ZiS_jhpJIQ/"
            "7e307b14-2a27-4f66-ada8-ec6400eb4977'. Please make sure the federated identity "
            "credential Subject is '/eid1/c/pub/t/{tenantId}/a/9ExAW52n_ky4ZiS_jhpJIQ/"
            "7e307b14-2a27-4f66-ada8-ec6400eb4977'.",
            status=401,
        ),
        f"{GITHUB}/microsoft/Agents/issues/202",
    ),
    Case(
        "EP4609",
        "entra token",
        entra(
            "invalid_client",
            7002138,
            "No matching federated identity record found for presented assertion subject "
            "'repo:CODfreak213421/IsocertsgDashboard23:environment:Production'. The subject "
            "matches with case-insensitive comparison, but not with case-sensitive comparison. "
            "Check your federated identity credential Subject, Audience and Issuer against the "
            "presented assertion. See documentation at: https://learn.microsoft.com/entra/workload-id/"
            "workload-identity-federation. See breaking change notification and remediation at: "
            "https://learn.microsoft.com/en-us/entra/identity-platform/reference-breaking-changes"
            "#august-2024.",
            status=401,
        ),
        f"{GITHUB}/Azure/login/issues/515",
    ),
    Case(
        "EP4613",
        "entra token",
        entra(
            "invalid_resource",
            500011,
            "The resource principal named https://reports.office365.com/ecp/reporting was not "
            "found in the tenant named xyz comp. This can happen if the application has not been "
            "installed by the administrator of the tenant or consented to by any user in the "
            "tenant. You might have sent your authentication request to the wrong tenant.",
        ),
        ENTRA_CODES,
    ),
    Case(
        "EP4614",
        "entra token",
        entra(
            "invalid_client",
            700024,
            "Client assertion is not within its valid time range. Current time: "
            "2024-05-28T06:01:42.5853621Z, assertion valid from 2024-05-28T02:19:01.0000000Z, "
            "expiry time of assertion 2024-05-28T02:29:01.0000000Z. Review the documentation at "
            "https://docs.microsoft.com/azure/active-directory/develop/"
            "active-directory-certificate-credentials .",
            status=401,
        ),
        f"{GITHUB}/dotnet/docker-tools/pull/1310",
    ),
    Case(
        "EP4615",
        "entra token",
        entra(
            "interaction_required",
            53003,
            "Access has been blocked by Conditional Access policies. The access policy does not "
            "allow token issuance.",
            suberror="message_only",
        ),
        f"{GITHUB}/MartinIngesen/MSOLSpray/issues/5",
    ),
)

# --- mail servers ---------------------------------------------------------------------------------

MAIL = (
    Case("EP3403", "mail MAIL", "530 Authentication required", SES),
    Case(
        "EP3405",
        "mail MAIL",
        "501 Invalid MAIL FROM address provided",
        f"{GITHUB}/docker-mailserver/docker-mailserver/issues/2403",
    ),
    Case(
        "EP3406",
        "mail RCPT",
        "550 5.1.1 The email account that you tried to reach does not exist. Please try "
        "double-checking the recipient's email address for typos or unnecessary spaces. Learn more "
        "at https://support.google.com/mail/?p=NoSuchUser "
        "i189-20020a6387c6000000b00439495f4eadsor8053548pge.28 - gsmtp",
        f"{GITHUB}/alistapart/AListApart/issues/442",
    ),
    Case(
        "EP3407",
        "mail RCPT",
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend "
        "your message at a later time. If the user is able to receive mail at that time, your "
        "message will be delivered.",
        GMAIL,
    ),
    Case(
        "EP3407",
        "mail RCPT",
        "452 4.2.2 The email account that you tried to reach is over quota.",
        GMAIL,
    ),
    Case("EP3408", "mail DATA", "552 Message is too long", SES),
    Case(
        "EP3409",
        "mail DATA",
        "554 Message rejected: Email address is not verified. The following identities failed the "
        "check in region US-WEST-2: webmaster@localhost",
        "https://pastebin.com/MpLgKiQ6",
    ),
    Case("EP3410", "mail MAIL", "421 Too many concurrent SMTP connections", SES),
    Case("EP3410", "mail DATA", "451 4.3.0 Mail server temporarily rejected message.", GMAIL),
)

CASES = (*SQS, *LAMBDA, *S3, *CREDENTIALS, *MAIL)
