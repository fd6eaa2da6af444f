"""What Amazon S3 calls its failures.

List: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

FINDINGS = {
    "NoSuchBucket": "EP3320",
    "AccessDenied": "EP3321",
    "AllAccessDisabled": "EP3321",
    "AccountProblem": "EP3321",
    "AuthorizationHeaderMalformed": "EP3322",
    "IllegalLocationConstraintException": "EP3322",
    "PermanentRedirect": "EP3322",
    "TemporaryRedirect": "EP3322",
    "KMS.DisabledException": "EP3323",
    "KMS.InvalidKeyUsageException": "EP3323",
    "KMS.KMSInvalidStateException": "EP3323",
    "KMS.NotFoundException": "EP3323",
    "RequestLimitExceeded": "EP3324",
    "ServiceUnavailable": "EP3324",
    "SlowDown": "EP3324",
    "InternalError": "EP3325",
    "RequestTimeout": "EP3325",
    "NoSuchKey": "EP3326",
    "FileTooLarge": "EP3331",
    "FileMalformed": "EP3330",
}
