"""Secrets are read by reference, and never shown."""

from pathlib import Path

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import secrets
from eventpost.credentials.secrets import SECRET_BYTES_MAX, is_reference, mask, mask_url, resolve


def test_environment() -> None:
    """`env:NAME` is the variable's value, as it is."""
    assert resolve("env:TOKEN", {"TOKEN": " s3cret "}) == " s3cret "


def test_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping it is the process's own environment."""
    monkeypatch.setenv("EVENTPOST_TEST_TOKEN", "s3cret")

    assert resolve("env:EVENTPOST_TEST_TOKEN") == "s3cret"


@pytest.mark.parametrize("content", ["s3cret", "s3cret\n", "s3cret\r\n"])
def test_file(tmp_path: Path, content: str) -> None:
    """`file:PATH` is the file's text without the line break at its end."""
    path = tmp_path / "secret"
    path.write_bytes(content.encode())

    assert resolve(f"file:{path}") == "s3cret"


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_file_bound(tmp_path: Path, extra: int) -> None:
    """A secret file may be exactly as large as its bound."""
    path = tmp_path / "secret"
    path.write_bytes(b"a" * (SECRET_BYTES_MAX + extra))

    if extra <= 0:
        assert len(resolve(f"file:{path}")) == SECRET_BYTES_MAX + extra
    else:
        with pytest.raises(InvalidRequest, match=str(path)):
            resolve(f"file:{path}")


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("env:NOT_THERE", "NOT_THERE is not set"),
        ("env:EMPTY", "EMPTY is empty"),
        ("file:/not/there", "/not/there cannot be read"),
        ("file:/tmp", "/tmp cannot be read"),
    ],
)
def test_missing(reference: str, named: str) -> None:
    """A missing secret is told by the name of its variable or file."""
    with pytest.raises(InvalidRequest, match=named):
        resolve(reference, {"EMPTY": ""})


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """A secret file that is empty or no text is refused by name."""
    for content in (b"", b"\n", b"\xff"):
        path = tmp_path / "secret"
        path.write_bytes(content)
        with pytest.raises(InvalidRequest, match=str(path)):
            resolve(f"file:{path}")


@pytest.mark.parametrize("text", ["s3cret", "env:", "file:", "ENV:TOKEN", ""])
def test_not_a_reference(text: str) -> None:
    """What is no reference may be the secret itself, and is not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        resolve(text)

    assert "s3cret" not in str(caught.value)


def test_mask() -> None:
    """References are shown, values are not."""
    assert mask("env:TOKEN") == "env:TOKEN"
    assert mask("s3cret") == "***"
    assert mask("") == ""
    assert is_reference("file:/a")
    assert not is_reference("s3cret")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/b", "https://a.example/b"),
        ("https://a.example/b?code=s3cret&x=1", "https://a.example/b?code=***&x=***"),
        ("https://a.example/?s3cret", "https://a.example/?***"),
        ("http://user:s3cret@a.example:1/", "http://user:***@a.example:1/"),
        ("https://[s3cret", "***"),
    ],
)
def test_mask_url(url: str, shown: str) -> None:
    """A URL is shown without its password and without the values of its query."""
    assert mask_url(url) == shown


def test_kept_by_value() -> None:
    """A secret that a program gives by value is named, and its name tells nothing of it."""
    name = secrets.keep("open sesame")

    assert secrets.resolve(name) == "open sesame"
    assert secrets.keep("open sesame") == name != secrets.keep("open barley")
    assert "sesame" not in name
    with pytest.raises(InvalidRequest) as caught:
        secrets.resolve(name + "9")
    assert "sesame" not in str(caught.value)
