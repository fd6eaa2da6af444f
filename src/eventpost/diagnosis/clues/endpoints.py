"""What endpoints and mail servers answer, as clients put it. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, MAYBE, SURE, Clue

MAIL_SERVER = "the mail server"

CLUES = (
    Clue(
        "http|status|resulted in a |client error: |server error |httpstatuserror: ",
        r"""(?:HTTP[ /]\S* |status(?:[ _]code)?[\"']?[:=]? ?|resulted in a `?|"
        r"Client error: |Server error '?|"
        r"HTTPStatusError: \w+ error ')(?P<status>[45]\d\d)\b""",
        "status:{status}",
        MAYBE,
        "the endpoint",
    ),
    # --- mail servers: what smtplib raises, or RFC 5321's reply with RFC 3463's code as it came ---
    Clue(
        "smtpauthenticationerror|535",
        r"SMTPAuthenticationError\W{1,4}5\d\d\b|\b535[ -]5\.7\.\d",
        "smtp:LoginRefused",
        SURE,
        MAIL_SERVER,
    ),
    Clue(
        "530 5.7.|530-5.7.|smtpsenderrefused",
        r"(?i)(?:\b530[ -]5\.7\.\d|SMTPSenderRefused\W{1,4}530\b)(?![^\n]*STARTTLS)",
        "smtp:LoginNeeded",
        SURE,
        MAIL_SERVER,
    ),
    Clue(
        "starttls",
        r"(?i)\b530\b[^\n]*STARTTLS|STARTTLS extension not supported",
        "smtp:StartTlsNeeded",
        SURE,
        MAIL_SERVER,
    ),
    Clue(
        "smtp auth extension not supported|no suitable authentication method found",
        r"SMTP AUTH extension not supported|No suitable authentication method found",
        "smtp:LoginNotOffered",
        SURE,
        MAIL_SERVER,
    ),
    Clue(
        "smtpsenderrefused",
        r"SMTPSenderRefused\W{1,4}5(?!30)\d\d\b",
        "smtp:SenderRefused",
        LIKELY,
        MAIL_SERVER,
    ),
    Clue(
        "smtprecipientsrefused",
        r"SMTPRecipientsRefused: [^\n]{0,512}?\(5\d\d\b",
        "smtp:RecipientRefused",
        LIKELY,
        MAIL_SERVER,
    ),
    Clue(
        "smtprecipientsrefused",
        r"SMTPRecipientsRefused: [^\n]{0,512}?\(4\d\d\b",
        "smtp:RecipientDeferred",
        LIKELY,
        MAIL_SERVER,
    ),
    Clue(
        "smtpdataerror",
        r"SMTPDataError\W{1,4}5\d\d\b",
        "smtp:ContentRefused",
        LIKELY,
        MAIL_SERVER,
    ),
    Clue(
        "smtpauthenticationerror|smtpsenderrefused|smtpdataerror|smtpconnecterror",
        r"SMTP(?:Authentication|Data|Connect)Error\W{1,4}4\d\d\b|SMTPSenderRefused\W{1,4}4\d\d\b",
        "smtp:Busy",
        LIKELY,
        MAIL_SERVER,
    ),
)
