"""What mail servers refuse, in words of `destinations.mail_server`, and which finding that is.

The server's own codes (RFC 5321, RFC 3463) stand in the evidence's detail.
"""

FINDINGS = {
    "": "EP3412",
    "StartTlsNotOffered": "EP3401",
    "StartTlsNeeded": "EP3401",
    "LoginRefused": "EP3402",
    "LoginNeeded": "EP3403",
    "LoginNotOffered": "EP3404",
    "SenderRefused": "EP3405",
    "RecipientRefused": "EP3406",
    "RecipientDeferred": "EP3407",
    "MessageTooLarge": "EP3408",
    "ContentRefused": "EP3409",
    "Busy": "EP3410",
    "NoGreeting": "EP3411",
    "ServerRefuses": "EP3412",
    "NotSmtp": "EP3413",
    "SomeRecipientsRefused": "EP3414",
}
