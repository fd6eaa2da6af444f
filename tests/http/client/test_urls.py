"""URLs: what is accepted, in which form it goes out, and odd spellings of addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.core.errors import InvalidRequest
from eventpost.http.urls import URL_CHARS_MAX, parse


@pytest.mark.parametrize(
    ("text", "shown", "port"),
    [
        ("https://hooks.example", "https://hooks.example/", 443),
        ("HTTPS://Hooks.Example:443/A", "https://hooks.example/A", 443),
        ("http://hooks.example:8080/a?b=c#d", "http://hooks.example:8080/a?b=c", 8080),
        ("https://hooks.example/a%20b?c=%2F", "https://hooks.example/a%20b?c=%2F", 443),
        ("https://hooks.example/blués", "https://hooks.example/blu%C3%A9s", 443),
        ("https://bücher.example/", "https://xn--bcher-kva.example/", 443),
        ("https://[2001:DB8::1]:8443/", "https://[2001:db8::1]:8443/", 8443),
        ("https://my_host.example./", "https://my_host.example./", 443),
        ("https://hooks.example?code=1", "https://hooks.example/?code=1", 443),
    ],
)
def test_forms(text: str, shown: str, port: int) -> None:
    """A URL keeps its path and query, loses its fragment, and its host is plain ASCII."""
    url = parse(text)

    assert (str(url), url.port) == (shown, port)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1"),
        *("017700000001", "0x7f.0x0.0x0.0x1", "\uff11\uff12\uff17.0.0.1"),
    ],
)
def test_addresses_in_disguise(host: str) -> None:
    """Every spelling of an address that a resolver would take is read as the address."""
    assert parse(f"http://{host}/").host == "127.0.0.1"


@pytest.mark.parametrize(
    "text",
    [
        *("", "hooks.example", "//hooks.example", "ftp://hooks.example", "https://", "https:///a"),
        *("https://user@hooks.example/", "https://user:secret@hooks.example/"),
        *("https://hooks.example:0/", "https://hooks.example:65536/", "https://hooks.example:x/"),
        *("https://hooks.example/a b", "https://hooks.example/\r\nX: y", "https://a\x00b/"),
        *("https://[::1/", "https://[::zz]/", "https://-a.example/", "https://a..example/"),
        *("https://a%2eexample/", f"https://{'a' * 64}.example/", f"https://{'a.' * 127}aa/"),
    ],
)
def test_refused(text: str) -> None:
    """What is no http(s) URL is refused, and the error does not repeat it."""
    with pytest.raises(InvalidRequest) as caught:
        parse(text)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("extra", "is_taken"), [(-1, True), (0, True), (1, False)])
def test_length_bound(extra: int, is_taken: bool) -> None:
    """A URL may be exactly as long as its bound."""
    start = "https://hooks.example/"
    text = start + "a" * (URL_CHARS_MAX + extra - len(start))

    if is_taken:
        assert parse(text).host == "hooks.example"
    else:
        with pytest.raises(InvalidRequest):
            parse(text)


@given(st.text(max_size=40))
def test_never_breaks_the_request_line(tail: str) -> None:
    """Whatever stands in a URL, it is refused or goes out as one word of ASCII."""
    try:
        url = parse(f"https://hooks.example/{tail}")
    except InvalidRequest:
        return

    assert url.path.isascii()
    assert url.path.isprintable()
    assert " " not in url.path
