"""Internet messages: whatever stands in an event, the message is one, and says what it was told."""

import email
from contextlib import suppress
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidRequest
from eventpost.formats import mail

pytestmark = pytest.mark.slow

SENDER = Address("Blues Radio", "eventpost", "station.example")
TO = Address("", "dj", "station.example")
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=300)
"""Half surrogate pairs and control characters, too."""


def parsed(content: bytes) -> EmailMessage:
    made = email.message_from_bytes(content, policy=policy.default)
    assert isinstance(made, EmailMessage)
    return made


def message(subject: str = "s", text: str = "t") -> bytes:
    return mail.message(
        sender=SENDER,
        recipients=[TO],
        subject=subject,
        text=text,
        date_ms=1_767_225_600_000,
        message_id="<1@station.example>",
    )


@given(subject=ANY_TEXT, text=ANY_TEXT)
@example(subject="\r\nBcc: x@y.example\r\n\r\nbody", text=".")
@example(subject="=?utf-8?q?not_encoded?=", text="From here")
@example(subject="=?utf-8?q?a=0d=0aBcc:_x@y.example?=", text=".")
@example(subject="ü =?utf-8?b?DQoNCmJvZHk=?=", text=".")
@example(subject="=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3D0dBcc=3A?=", text=".")
def test_any_text_makes_a_message(subject: str, text: str) -> None:
    """Whatever is in a subject or a body, the headers are ours alone, and lines are SMTP's."""
    content = message(subject, text)

    assert content.isascii()
    lines = content.split(b"\r\n")
    assert b"\n" not in b"".join(lines)
    assert b"\r" not in b"".join(lines)
    assert max(map(len, lines)) <= 998
    made = parsed(content)
    assert sorted(name.lower() for name in made) == sorted(
        [
            *("from", "to", "subject", "date", "message-id", "auto-submitted"),
            *("content-type", "content-transfer-encoding", "mime-version"),
        ]
    )


@pytest.mark.parametrize(
    "subject",
    ["=?utf-8?q?a=0d=0aBcc:_x@y.example?=", "ü =?utf-8?b?DQoNCmJvZHk=?= ü", "=?utf-8?q?=41?="],
)
def test_what_looks_encoded_stays_text(subject: str) -> None:
    """A publisher's encoded word is not decoded on the way: it could hold a line break."""
    assert parsed(message(subject))["Subject"] == subject.replace("=?", "= ?")


def test_a_name_that_is_encoded_twice_is_refused() -> None:
    """An encoded word within an encoded word would be decoded once more when it is written."""
    twice = "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3D0d=3D0aBcc=3A?= <dj@station.example>"

    with pytest.raises(InvalidRequest, match="encoded twice"):
        mail.addresses(twice, what="sender")


@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=2_000))
def test_bodies_arrive_as_they_were(text: str) -> None:
    """Text without control characters is read as it was written, and ends with a line break."""
    found = parsed(message(text=text)).get_content().replace("\r\n", "\n")

    assert found.rstrip("\n") == text.rstrip("\n")


@given(text=ANY_TEXT)
@example(text="a@")
@example(text="<")
@example(text="a@[")
@example(text="ü@[ ")
@example(text='"')
@example(text=",")
@example(text="group: a@x.example, b@y.example;")
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    """What is no address is refused in our words; what is one can be sent to."""
    with suppress(InvalidRequest):
        for found in mail.addresses(text, what="endpoint"):
            assert found.addr_spec.isascii()
            assert not set(found.addr_spec) & set("\r\n<>,")


@pytest.mark.parametrize("length", [254, 255])
def test_addresses_have_their_bound(length: int) -> None:
    """An address of one character more than SMTP allows is refused."""
    domain = "x" * 60 + ".example." + "y" * 60 + "." + "z" * 60 + ".example"
    text = "a" * (length - len(domain) - 1) + "@" + domain
    assert len(text) == length
    if length == 254:
        assert mail.address(text, what="endpoint").addr_spec == text
        return
    with pytest.raises(InvalidRequest, match="no e-mail address"):
        mail.address(text, what="endpoint")
