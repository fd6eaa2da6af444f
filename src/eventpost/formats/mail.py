"""Internet messages (RFC 5322) with one part of plain text, and the addresses that they go to.

Layer: formats. Headers and bodies are encoded by the standard library: words of RFC 2047 in
headers, quoted-printable UTF-8 in bodies, so that any server takes them.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email import policy
from email.errors import HeaderParseError
from email.headerregistry import Address, AddressHeader
from email.message import EmailMessage
from email.utils import format_datetime

from eventpost.core.errors import InvalidRequest
from eventpost.core.limits import excerpt

RECIPIENTS_MAX = 50
"""Of one message. RFC 5321, 4.5.3.1.8, has servers take at least 100."""
ADDRESS_CHARS_MAX = 254
"""RFC 5321, 4.5.3.1.3, without the brackets."""
SUBJECT_CHARS_MAX = 200
"""Characters of a subject; what is longer is cut."""

_BODY = policy.SMTP.clone(max_line_length=76)
"""RFC 2045, 6.7: no line of quoted-printable is longer."""
_PLAIN_HEADERS = policy.SMTP.clone(max_line_length=990)
"""RFC 5322, 2.1.1, allows 998; the library's folding would put a subject on a line of its own, and
a blank before it. Encoded words (RFC 2047) are for 76 at most, and are folded well."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_ENCODED = "=?"
"""How an encoded word begins."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_DOMAIN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*|\[[0-9A-Fa-f:.IPv]+\]"
)


def addresses(text: str, *, what: str) -> tuple[Address, ...]:
    """The addresses of a list such as `Station <ops@example.com>, dj@example.com`.

    Domains outside ASCII are written as IDNA has it. Raises InvalidRequest that names `what` it is.
    """
    if _CONTROL.search(text):
        raise _no_address(what, text, "It holds a line break or another control character.")
    try:
        header = policy.SMTP.header_factory("To", text)
    except Exception as error:
        raise _no_address(what, text, "It cannot be read as RFC 5322 has it.") from error
    assert isinstance(header, AddressHeader)
    defects: tuple[Exception, ...] = header.defects  # type: ignore[attr-defined]  # of its other base
    if defects or not header.addresses:
        why = str(defects[0]).rstrip(".") + "." if defects else "It is empty."
        raise _no_address(what, text, why)
    if len(header.addresses) > RECIPIENTS_MAX:
        why = f"There are {len(header.addresses)}, of at most {RECIPIENTS_MAX}."
        raise _no_address(what, text, why)
    return tuple(_checked(address, what) for address in header.addresses)


def address(text: str, *, what: str) -> Address:
    """The same of one address."""
    found = addresses(text, what=what)
    if len(found) != 1:
        raise _no_address(what, text, f"There are {len(found)} addresses.")
    return found[0]


def message(
    *,
    sender: Address,
    recipients: Sequence[Address],
    subject: str,
    text: str,
    date_ms: int,
    message_id: str,
    reply_to: Address | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """The message as it goes over the wire, lines ended by CRLF and none longer than SMTP allows.

    What cannot stand in a header (line breaks, controls) becomes a blank, and what would be taken
    for encoded gets one; in the text, the sign for a character that cannot be shown.
    """
    made = EmailMessage(policy=_BODY)
    made["From"] = sender
    made["To"] = tuple(recipients)
    made["Subject"] = one_line(subject, SUBJECT_CHARS_MAX)
    made["Date"] = format_datetime(datetime.fromtimestamp(date_ms / 1000, UTC), usegmt=False)
    made["Message-ID"] = message_id
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note comes back
    if reply_to is not None:
        made["Reply-To"] = reply_to
    for name, value in headers:
        made[name] = one_line(value, SUBJECT_CHARS_MAX)
    lines = _NOT_TEXT.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    made.set_content(lines, charset="utf-8", cte="quoted-printable")
    is_plain = all(str(value).isascii() for value in made.values())
    return made.as_bytes(policy=_PLAIN_HEADERS if is_plain else policy.SMTP)


def one_line(text: str, chars_max: int) -> str:
    """Text that can stand in a header, and stays the text that it is.

    The library decodes what looks like an encoded word (RFC 2047), and writes out what was in it,
    line breaks too: a publisher could add headers, and a body.
    """
    flat = " ".join(_CONTROL.sub(" ", _SURROGATE.sub("\ufffd", text)).split())
    flat = flat.replace(_ENCODED, "= ?")
    return flat if len(flat) <= chars_max else f"{flat[: chars_max - 3]}..."


def _checked(address: Address, what: str) -> Address:
    name = f"{address.username}@{address.domain}"
    if not address.username or not address.domain:
        raise _no_address(what, name, "It needs a name, an @ and a domain.")
    if _ENCODED in address.display_name:
        raise _no_address(what, name, "Its display name is encoded twice.")
    if not address.username.isascii():
        why = "A name outside ASCII needs a server with SMTPUTF8, which few are."
        raise _no_address(what, name, why)
    try:
        domain = address.domain.encode("idna").decode()
    except UnicodeError as error:
        raise _no_address(what, name, "Its domain cannot be written as IDNA has it.") from error
    if not _DOMAIN.fullmatch(domain):
        raise _no_address(what, name, f"{excerpt(domain)} is no domain.")
    try:
        checked = Address(address.display_name, address.username, domain)
    except (ValueError, HeaderParseError) as error:
        raise _no_address(what, name, "It cannot be read as RFC 5322 has it.") from error
    if len(checked.addr_spec) > ADDRESS_CHARS_MAX:
        raise _no_address(what, name, f"It has more than {ADDRESS_CHARS_MAX} characters.")
    return checked


def _no_address(what: str, text: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        "InvalidAddress",
        f"{what} is {excerpt(text)}, which is no e-mail address.",
        why=why,
        fix="Write ops@example.com, or several with commas between them.",
    )
