"""What the AWS SDKs, SQS, Lambda and what is built on them say. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, MAYBE, SURE, Clue

CLUES = (
    Clue(
        "no ec2 imds role found",
        r"no EC2 IMDS role found.*(?:deadline exceeded|Client\.Timeout|canceled)",
        "EP4508",
        LIKELY,
        "the AWS SDK for Go",
    ),
    Clue(
        "no ec2 imds role found|nocredentialproviders|failed to refresh cached credentials|"
        "unable to locate credentials|nocredentialserror|not found, signing",
        r"no EC2 IMDS role found|NoCredentialProviders|failed to refresh cached credentials|"
        r"Unable to locate credentials|NoCredentialsError|"
        r"get credentials: .*not found, Signing",
        "EP4501",
        LIKELY,
        "an AWS SDK",
    ),
    Clue(
        "credentialserror| credentials found",
        r"PartialCredentialsError|Partial credentials found",
        "EP4502",
        SURE,
        "botocore",
    ),
    Clue(
        "credentialretrievalerror|credentials from container-role",
        r"CredentialRetrievalError.*container-role|credentials from container-role",
        "EP4503",
        LIKELY,
        "botocore",
    ),
    Clue(
        "received non 200 response ",
        r"Received non 200 response \d{3} from container metadata",
        "EP4504",
        SURE,
        "botocore",
    ),
    Clue(
        "can only retrieve metadata",
        r"Unsupported host '[^']*'.\s*Can only retrieve metadata",
        "EP4505",
        SURE,
        "botocore",
    ),
    Clue(
        "profilenotfound|the config profile (",
        r"ProfileNotFound|The config profile \([^)]*\) could not be found",
        "EP4513",
        SURE,
        "botocore",
    ),
    Clue(
        "sso session|unauthorizedssotokenerror|sso login",
        r"SSO session|UnauthorizedSSOTokenError|sso login",
        "EP4514",
        LIKELY,
        "an AWS SDK",
    ),
    Clue(
        "noregionerror|you must specify a region|missingregion",
        r"NoRegionError|You must specify a region|MissingRegion",
        "EP4517",
        SURE,
        "an AWS SDK",
    ),
    Clue(
        "accessdenied|invalididentitytoken|idprejectedclaim|expiredtoken|accessdenied|"
        "invalididentitytoken",
        r"(?:AccessDenied|InvalidIdentityToken|IDPRejectedClaim|"
        r"ExpiredToken)[^\n]{0,80}AssumeRole|AssumeRole\w*[^\n]{0,200}(?:AccessDenied|"
        r"InvalidIdentityToken)",
        "EP4516",
        SURE,
        "STS",
    ),
    Clue(
        "aws_web_identity_token_file|webidentityerr",
        r"AWS_WEB_IDENTITY_TOKEN_FILE|WebIdentityErr",
        "EP4515",
        MAYBE,
        "an AWS SDK",
    ),
    Clue(
        "expiredtoken|security token included in the request is expired",
        r"\b(?:ExpiredToken|ExpiredTokenException)\b|"
        r"security token included in the request is expired",
        "EP4511",
        SURE,
        "AWS",
    ),
    Clue(
        "invalidclienttokenid|unrecognizedclientexception|invalidaccesskeyid",
        r"\b(?:InvalidClientTokenId|UnrecognizedClientException|InvalidAccessKeyId)\b",
        "EP4520",
        SURE,
        "AWS",
    ),
    Clue(
        "request|signature expired|signature not yet current",
        r"\b(?:RequestTimeTooSkewed|RequestExpired)\b|Signature expired|Signature not yet current",
        "EP4519",
        SURE,
        "AWS",
    ),
    Clue(
        "signaturedoesnotmatch|invalidsignatureexception",
        r"\b(?:SignatureDoesNotMatch|InvalidSignatureException)\b",
        "EP4518",
        LIKELY,
        "AWS",
    ),
    Clue(
        "accessdenied|.accessdenied|decrypt|generatedatakey",
        r"\bKms(?:AccessDenied|\.AccessDenied)|kms:(?:Decrypt|GenerateDataKey)\b",
        "EP4102",
        LIKELY,
        "Amazon SQS",
    ),
    Clue(
        "accessdenied|accessdenied|access to the resource https://",
        r"(?:AccessDenied\w*\b[^\n]{0,120}\b(?:SendMessage|ReceiveMessage|DeleteMessage|"
        r"ChangeMessageVisibility|GetQueueUrl|GetQueueAttributes|ListQueues|CreateQueue)|"
        r"(?:SQS: \w+|sqs:\w+)[^\n]{0,300}\bAccessDenied|"
        r"Access to the resource https://(?:sqs|queue)\.[^\s]+ is denied)",
        "EP4101",
        SURE,
        "Amazon SQS",
    ),
    Clue(
        "nonexistentqueue|queuedoesnotexist|the specified queue does not exist",
        r"NonExistentQueue|QueueDoesNotExist|The specified queue does not exist",
        "EP4106",
        SURE,
        "Amazon SQS",
    ),
    Clue(
        "queuedeletedrecently",
        r"QueueDeletedRecently",
        "EP4107",
        SURE,
        "Amazon SQS",
    ),
    Clue(
        "overlimit",
        r"\bOverLimit\b",
        "EP4110",
        SURE,
        "Amazon SQS",
    ),
    Clue(
        "receipthandleisinvalid|messagenotinflight",
        r"ReceiptHandleIsInvalid|MessageNotInflight",
        "EP4109",
        SURE,
        "Amazon SQS",
    ),
    Clue(
        "undefinedqueueexception",
        r"UndefinedQueueException",
        "EP4106",
        MAYBE,
        "kombu",
    ),
    Clue(
        "accessdenied|lambda:invokefunction",
        r"AccessDenied\w*\b[^\n]{0,120}\bInvoke\b|lambda:InvokeFunction",
        "EP4154",
        SURE,
        "Lambda",
    ),
    Clue(
        "task timed out after ",
        r"Task timed out after [\d.]+ seconds",
        "EP4151",
        SURE,
        "Lambda",
    ),
    Clue(
        ".exiterror| exited with error",
        r"Runtime\.ExitError|Runtime exited with error",
        "EP4152",
        SURE,
        "Lambda",
    ),
    Clue(
        "toomanyrequestsexception",
        r"TooManyRequestsException",
        "EP4153",
        LIKELY,
        "Lambda",
    ),
    Clue(
        "requestthrottled|throttlingexception|throttling",
        r"\b(?:RequestThrottled|ThrottlingException|Throttling)\b",
        "EP4104",
        MAYBE,
        "AWS",
    ),
)
