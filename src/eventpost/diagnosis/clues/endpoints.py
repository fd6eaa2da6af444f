"""What endpoints and mail servers answer, as clients put it. See `clues.clue`."""

from eventpost.diagnosis.clues.clue import LIKELY, MAYBE, Clue

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
    Clue(
        "5.7.|smtpauthenticationerror",
        r"\b535[ -]5\.7\.\d|SMTPAuthenticationError",
        "smtp:auth",
        LIKELY,
        "the mail server",
    ),
)
