"""What must never stand in a log line, taken out of it: by a field's name and by a text's form.

Nothing secret should get as far as a log call. This is the last door, not the only one.
"""

import re

MASK = "***"

_SECRET_NAME = re.compile(
    r"authorization|cookie|password|secret|signature|token|credential|validation_code"
    r"|(^|_)(key\d?|sas)$"
)
_SECRET_TEXT = re.compile(
    r"""
      (?P<scheme> \b (?: SharedAccessSignature | SharedAccessKey | Bearer | Basic ) \s+ ) \S+
    | (?P<header> \b (?: aeg-sas-(?:key|token) | authorization | cookie | webhook-signature )
                  ["']? \s* [:=] \s* ) [^\r\n]+
    | (?P<query> https?://[^\s?"'<>]* \? ) [^\s"'<>]+
    """,
    re.VERBOSE | re.IGNORECASE,
)


_USER_IN_URL = re.compile(r"""(?<=://)[^\s/@"']+(?=@)""")


def is_secret(name: str) -> bool:
    """Whether a field of that name holds a secret, whatever its value looks like."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str) -> str:
    """`text` without credentials: authorization values, users in URLs, and the queries of URLs,
    where webhooks carry their secrets."""
    return _SECRET_TEXT.sub(_keep_what_names_it, _USER_IN_URL.sub(MASK, text))


def _keep_what_names_it(match: re.Match[str]) -> str:
    assert match.lastgroup is not None
    return match[match.lastgroup] + MASK
