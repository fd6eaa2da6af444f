"""Access keys and shared access signatures."""

import base64
from datetime import UTC, datetime, timedelta, timezone
from string import ascii_letters
from urllib.parse import quote, quote_plus

import pytest
from azure.eventgrid import generate_sas
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import Unauthorized
from eventpost.formats import sas

KEY1 = base64.b64encode(bytes(range(32))).decode()
KEY2 = base64.b64encode(bytes(range(1, 33))).decode()
OTHER = base64.b64encode(bytes(range(2, 34))).decode()
KEYS = (KEY1, KEY2)
URL = "https://grid.example:7790/topics/orders/api/events"
EXPIRY = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
EXPIRES_MS = int(EXPIRY.timestamp() * 1000)
BEFORE_MS = EXPIRES_MS - 1


def refused(token: str, url: str = URL, now_ms: int = BEFORE_MS) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        sas.verify(token, KEYS, url, now_ms)
    assert KEY1 not in str(caught.value)
    return caught.value


def signed(resource: str, expiry: str, key: str = KEY1, *, is_lower: bool = False) -> str:
    """A token from parts that are encoded already."""
    unsigned = f"r={resource}&e={expiry}"
    signature = base64.b64encode(sas._signature(unsigned, key)).decode()
    encoded = quote(signature, safe="")
    return f"{unsigned}&s={lowered(encoded) if is_lower else encoded}"


def lowered(text: str) -> str:
    """Percent escapes in lower case, as .NET writes them."""
    parts = text.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


@pytest.mark.parametrize("key", KEYS)
def test_official_token(key: str) -> None:
    """A token of the official Python client is accepted, made with either key."""
    sas.verify(generate_sas(URL, key, EXPIRY), KEYS, URL, BEFORE_MS)


def test_official_token_of_a_naive_time() -> None:
    """The official client writes a time without zone as UTC."""
    sas.verify(generate_sas(URL, KEY1, EXPIRY.replace(tzinfo=None)), KEYS, URL, BEFORE_MS)


def test_official_token_of_another_zone() -> None:
    """An expiry with another zone is the same moment."""
    expiry = EXPIRY.astimezone(timezone(timedelta(hours=2)))
    token = generate_sas(URL, KEY1, expiry)

    sas.verify(token, KEYS, URL, BEFORE_MS)
    assert "expired" in refused(token, now_ms=EXPIRES_MS).what


def test_own_token() -> None:
    """A generated token verifies until its expiry, and not at it."""
    token = sas.generate(URL, KEY2, EXPIRES_MS)

    sas.verify(token, KEYS, URL, BEFORE_MS)
    assert "expired at '2030-01-02T03:04:05" in refused(token, now_ms=EXPIRES_MS).what


@pytest.mark.parametrize(
    ("resource", "expiry", "is_lower"),
    [
        (quote(URL, safe=""), quote("1/2/2030 3:04:05 AM", safe=""), False),
        (quote(URL, safe=""), quote("2030-01-02T03:04:05", safe=""), False),
        (lowered(quote_plus(URL)), lowered(quote_plus("1/2/2030 3:04:05 AM")), True),
        (quote(f"{URL}?apiVersion=2018-01-01", safe=""), "2030-01-02T03%3A04%3A05Z", False),
        (URL, "2030-01-02T03:04:05Z", False),
        ("r=odd&e=1" + quote("/", safe=""), "2030-01-02T03:04:05Z", False),
    ],
)
def test_encodings(resource: str, expiry: str, is_lower: bool) -> None:
    """The signature is checked over the text as it came, whatever the client encodes and how."""
    token = signed(resource, expiry, is_lower=is_lower)
    url = "http://r=odd&e=1/x" if resource.startswith("r=") else URL

    sas.verify(token, KEYS, url, BEFORE_MS)


def test_plus_in_the_signature_that_became_a_blank() -> None:
    """A base64 `+` that something on the way decoded is still a `+`."""
    for number in range(200):
        resource = quote(f"{URL}?{number}", safe="")
        unsigned = f"r={resource}&e=2030-01-02"
        signature = base64.b64encode(sas._signature(unsigned, KEY1)).decode()
        sas.verify(f"{unsigned}&s={signature.replace('+', ' ')}", KEYS, URL, 0)


@pytest.mark.parametrize(
    "resource",
    [
        "http://grid.example:7790/topics/orders/api/events",
        "grid.example:7790/topics/orders",
        "https://GRID.example:7790/Topics/ORDERS/api/events/",
        "https://grid.example:7790/",
        "https://grid.example:7790/topics/orders?api-version=1#x",
    ],
)
def test_resource_accepted(resource: str) -> None:
    """The resource is compared without scheme, query and case, as a prefix."""
    sas.verify(sas.generate(resource, KEY1, EXPIRES_MS), KEYS, URL, BEFORE_MS)


@pytest.mark.parametrize(
    "resource",
    [
        "https://grid.example:7790/topics/order",
        "https://grid.example:7790/topics/orders/api/events/more",
        "https://grid.example/topics/orders",
        "https://other.example:7790/topics/orders",
        "https://grid.example:77/",
        "",
        "https://",
        "https://[",
    ],
)
def test_resource_refused(resource: str) -> None:
    """A token for another place is refused, and the answer names both."""
    error = refused(sas.generate(resource, KEY1, EXPIRES_MS))

    assert f"'{resource}'" in error.what
    assert URL in error.why


@pytest.mark.parametrize(("one", "other"), [("https://h/x", "h:443/x"), ("http://h:80/x", "h/x")])
def test_default_ports(one: str, other: str) -> None:
    """The scheme's own port may be written or left out."""
    sas.verify(sas.generate(one, KEY1, EXPIRES_MS), KEYS, f"https://{other}", BEFORE_MS)


def test_wrong_key() -> None:
    """A token made with another key is refused without a word about its content."""
    error = refused(sas.generate("https://elsewhere", OTHER, 0))

    assert "signature" in error.what
    assert "elsewhere" not in str(error)


@given(st.integers(0, 400), st.characters(min_codepoint=33, max_codepoint=126))
def test_any_change_breaks_it(index: int, replacement: str) -> None:
    """No single character of a token can be changed."""
    token = sas.generate(URL, KEY1, EXPIRES_MS)
    index %= len(token) - len("x%3D")  # the last base64 character has two bits without meaning
    changed = token[:index] + replacement + token[index + 1 :]
    if changed.lower() == token.lower():
        return

    refused(changed)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "r=",
        "nonsense",
        "r=a&e=b",
        "e=b&r=a&s=AAAA",
        "r=a&s=AAAA",
        "r=a&e=b&s=*",
        "r=é&e=b&s=AAAA",
        "r=a&e=b&s=AAAA" + "A" * sas.TOKEN_CHARS_MAX,
    ],
)
def test_malformed(token: str) -> None:
    """What is no token is refused and says what a token is."""
    error = refused(token)

    assert error.status == 401
    assert "cannot be read" in error.what
    assert error.why


@pytest.mark.parametrize("expiry", ["", "never", "1/99/2030 1:00:00 AM", "99999-01-01"])
def test_bad_expiry(expiry: str) -> None:
    """A genuine token whose expiry is no time is refused."""
    assert "not a time" in refused(signed(quote(URL, safe=""), quote(expiry, safe=""))).why


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_token_length_bound(beyond: int) -> None:
    """A token is read up to its bound and not beyond."""
    length = sas.TOKEN_CHARS_MAX + beyond
    filling = length - len(sas.generate(f"{URL}?", KEY1, EXPIRES_MS))
    tokens = (  # of slightly different lengths: some signatures need more escapes than others
        sas.generate(f"{URL}?{letter * (filling + slack)}", KEY1, EXPIRES_MS)
        for letter in ascii_letters
        for slack in (-2, 0, 2)
    )
    token = next(token for token in tokens if len(token) == length)

    if beyond <= 0:
        sas.verify(token, KEYS, URL, BEFORE_MS)
    else:
        assert "cannot be read" in refused(token).what


def test_is_key() -> None:
    """Only a whole key is a key, whichever of the two."""
    keys = (KEY1.encode(), KEY2.encode())

    assert sas.is_key(KEY1.encode(), keys)
    assert sas.is_key(KEY2.encode(), keys)
    assert not sas.is_key(OTHER.encode(), keys)
    assert not sas.is_key(KEY1.encode()[:-1], keys)
    assert not sas.is_key(b"", keys)
