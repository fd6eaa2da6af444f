"""What azure-core, azure-identity and Azure Storage say. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, MAYBE, SURE, Clue

CLUES = (
    Clue(
        "aadsts",
        r"\b(?P<code>AADSTS\d{5,7})\b",
        "azure:{code}",
        SURE,
        "Microsoft Entra",
    ),
    Clue(
        "errorcode:|<code>|x-ms-error-code",
        r"""(?:ErrorCode:|<Code>|x-ms-error-code[\"': ]+)\s*(?P<code>[A-Z][A-Za-z]+)""",
        "storagequeue:{code}",
        SURE,
        "Azure Storage",
    ),
    Clue(
        "not authorized to perform this operation using this permission",
        r"not authorized to perform this operation using this permission",
        "EP4202",
        SURE,
        "Azure Storage",
    ),
    Clue(
        "is not authorized to perform this operation",
        r"is not authorized to perform this operation",
        "storagequeue:AuthorizationFailure",
        LIKELY,
        "Azure Storage",
    ),
    Clue(
        "server failed to authenticate the request",
        r"Server failed to authenticate the request",
        "EP4203",
        LIKELY,
        "Azure Storage",
    ),
    Clue(
        "token credential is only supported with https|non-tls protected",
        r"Token credential is only supported with HTTPS|non-TLS protected",
        "EP4611",
        SURE,
        "azure-core",
    ),
    Clue(
        "identity not found|no user assigned or delegated managed identity",
        r"Identity not found|No User Assigned or Delegated Managed Identity",
        "EP4604",
        SURE,
        "azure-identity",
    ),
    Clue(
        "managedidentitycredential",
        r"ManagedIdentityCredential[^\n]*(?:no response|No response|unreachable|timed out|"
        r"no managed identity endpoint)",
        "EP4603",
        LIKELY,
        "azure-identity",
    ),
    Clue(
        "please run 'az login'",
        r"Please run 'az login'",
        "EP4605",
        MAYBE,
        "azure-identity",
    ),
    Clue(
        "environmentcredential",
        r"EnvironmentCredential[^\n]*not fully configured",
        "EP4602",
        MAYBE,
        "azure-identity",
    ),
    Clue(
        "defaultazurecredential failed to retrieve a token",
        r"DefaultAzureCredential failed to retrieve a token",
        "EP4601",
        MAYBE,
        "azure-identity",
    ),
)
