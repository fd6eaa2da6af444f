"""Keys are used when they are complete; half a set is an error that names the missing half."""

from pathlib import Path

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.credentials import aws
from eventpost.credentials.aws_settings import (
    ATTEMPTS_MAX,
    CONNECT_S_MAX,
    POOL_CONNECTIONS_MAX,
    REQUEST_S_MAX,
    AwsConnection,
)
from eventpost.queues.kinds import connection_class, read_settings

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY_ID = "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize(
    ("named", "missing"),
    [
        ({"access_key_id": KEY_ID}, "secret_access_key is missing"),
        ({"secret_access_key": "env:S"}, "access_key_id is missing"),
        ({"session_token": "env:T"}, "access_key_id and secret_access_key are missing"),
        ({"access_key_id": KEY_ID, "session_token": "env:T"}, "secret_access_key is missing"),
        ({"secret_access_key": "env:S", "session_token": "env:T"}, "access_key_id is missing"),
        (
            {"access_key_id": "ASIAIOSFODNN7EXAMPLE", "secret_access_key": "env:S"},
            "session_token is missing",
        ),
    ],
)
def test_half_a_set_in_the_settings(named: dict[str, str], missing: str) -> None:
    """Half a set in the settings is refused when they are read, by the name of what is missing."""
    with pytest.raises(InvalidRequest) as caught:
        msgspec.convert(named, AwsConnection)

    assert caught.value.code == "EP4502"
    assert missing in caught.value.what
    assert "no keys at all" in caught.value.fix


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ((KEY_ID, ""), "secret_access_key is missing"),
        (("", SECRET), "access_key_id is missing"),
        (("", "", "token"), "access_key_id and secret_access_key are missing"),
        (("ASIAIOSFODNN7EXAMPLE", SECRET), "session_token is missing"),
    ],
)
def test_half_a_set_by_value(values: tuple[str, ...], missing: str) -> None:
    """Half a set that a program gives is refused too, and its error does not hold the secret."""
    with pytest.raises(InvalidRequest, match=missing) as caught:
        aws.given(*values)

    assert SECRET not in str(caught.value)


def test_nothing_given_is_the_sdk_s_chain() -> None:
    """No key at all is no error: finding credentials is the SDK's work."""
    assert aws.given() is None
    assert not AwsConnection().has_keys


def test_complete_sets_are_taken() -> None:
    """Keys with and without a session token are complete."""
    assert aws.given(KEY_ID, SECRET) == aws.Keys(KEY_ID, SECRET)
    assert aws.given("ASIAIOSFODNN7EXAMPLE", SECRET, "token") is not None
    assert AwsConnection(access_key_id=KEY_ID, secret_access_key="env:S").has_keys


def test_settings_hold_references_only() -> None:
    """A secret in the place of its reference is refused, by file and by code, and not repeated."""
    for name in ("secret_access_key", "session_token"):
        values = {"access_key_id": KEY_ID, "secret_access_key": "env:S", name: SECRET}
        with pytest.raises(InvalidRequest) as by_code:
            AwsConnection(**values)  # type: ignore[arg-type]  # names and texts
        with pytest.raises(InvalidRequest) as by_file:
            read_settings(values, AwsConnection)

        assert by_code.value.code == "SecretNotAReference"
        for caught in (by_code, by_file):
            assert name in caught.value.what
            assert SECRET not in str(caught.value)


def test_unknown_settings_are_refused() -> None:
    """A misspelt setting is told, and not ignored."""
    with pytest.raises(InvalidRequest, match="secret_key"):
        read_settings({"secret_key": "env:S"}, AwsConnection)


def test_the_kind_is_known_by_its_name() -> None:
    """`kind: aws` in a file leads to these settings."""
    assert connection_class("aws") is aws.AwsConnection


@pytest.mark.parametrize(
    ("name", "most", "least", "beyond"),
    [
        ("connect_timeout_s", CONNECT_S_MAX, 0.001, CONNECT_S_MAX + 0.1),
        ("request_timeout_s", REQUEST_S_MAX, 0.001, REQUEST_S_MAX + 0.1),
        ("pool_connections_max", POOL_CONNECTIONS_MAX, 1, POOL_CONNECTIONS_MAX + 1),
        ("attempts_max", ATTEMPTS_MAX, 0, ATTEMPTS_MAX + 1),
    ],
)
def test_bounds(name: str, most: float, least: float, beyond: float) -> None:
    """Each bound holds at its edges."""
    for good in (least, most):
        assert getattr(msgspec.convert({name: good}, AwsConnection), name) == good
    for bad in (beyond, -1):
        with pytest.raises(InvalidRequest, match=name):
            msgspec.convert({name: bad}, AwsConnection)


def test_references_are_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotated secret is seen at the next reading."""
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv("KEY_ID", KEY_ID)
    settings = AwsConnection(access_key_id="env:KEY_ID", secret_access_key=f"file:{path}")

    assert settings.keys() == aws.Keys(KEY_ID, SECRET)
    path.write_text("another")
    assert settings.keys() == aws.Keys(KEY_ID, "another")


def test_an_empty_variable_is_no_half_set() -> None:
    """A reference to nothing is told by its name; no other credentials take its place."""
    settings = AwsConnection(access_key_id=KEY_ID, secret_access_key="env:NOT_THERE")

    with pytest.raises(InvalidRequest, match="NOT_THERE is not set"):
        aws.session(settings).client("sqs")


def test_keys_are_given_in_one_place() -> None:
    """Keys by value beside keys in the settings are refused: one would override the other."""
    settings = AwsConnection(access_key_id=KEY_ID, secret_access_key="env:S")

    with pytest.raises(InvalidRequest) as caught:
        aws.session(settings, aws.Keys(KEY_ID, SECRET))

    assert caught.value.code == "KeysGivenTwice"


def test_secrets_are_not_shown() -> None:
    """No printed form of settings, keys or frozen keys holds a secret or a whole key id."""
    keys = aws.Keys(KEY_ID, SECRET, "session-token")
    frozen = aws.Frozen(KEY_ID, SECRET, "session-token")
    settings = AwsConnection(access_key_id=KEY_ID, secret_access_key="env:S")

    for text in (repr(keys), str(keys), repr(frozen), str(frozen), f"{frozen}"):
        assert SECRET not in text
        assert "session-token" not in text
        assert KEY_ID not in text
    assert "AKIA****MPLE" in repr(keys)
    assert "env:S" in repr(settings)
