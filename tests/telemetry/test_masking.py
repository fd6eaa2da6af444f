"""No secret reaches a log line, whatever way it takes there."""

import pytest

from eventpost.telemetry.masking import MASK, is_secret, masked


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "aeg_sas_key", "key1", "access_key", "sas", "sas_token", "password"),
        *("signing_secret", "cookie", "credential", "validation_code", "webhook_signature"),
    ],
)
def test_a_field_named_for_a_secret_is_one(name: str) -> None:
    """The name alone is enough."""
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["key_name", "monkey", "status", "finding", "topic", "subscription", "code"]
)
def test_other_fields_are_none(name: str) -> None:
    """Names that only resemble those of secrets are shown."""
    assert not is_secret(name)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cret",
        "authorization: Basic s3cret==",
        "SharedAccessSignature r=https%3a%2f%2fx&e=1&s=s3cret",
        "SharedAccessKey s3cret",
        "aeg-sas-key: s3cret",
        "{'aeg-sas-token': 's3cret'}",
        "POST https://hooks.example/in?code=s3cret failed",
        "https://user:s3cret@hooks.example/in",
        "http://s3cret@proxy:3128",
        "bearer  s3cret",
        "Cookie: a=1; session=s3cret",
    ],
)
def test_a_secret_inside_a_text_is_masked(text: str) -> None:
    """Credentials are recognised by their form, wherever they stand."""
    shown = masked(text)

    assert "s3cret" not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "text",
    [
        "connection refused by 192.0.2.7:443 after 3 ms",
        "https://hooks.example/in",
        "https://hooks.example/a@b",
        "the authorization was refused",
    ],
)
def test_harmless_texts_stay(text: str) -> None:
    """What holds no credential is shown as it is."""
    assert masked(text) == text


def test_the_rest_of_a_url_is_kept() -> None:
    """Host and path of a URL are what helps, so only its query and its user are taken out."""
    assert masked("https://u:p@hooks.example/in?code=1 refused") == (
        "https://***@hooks.example/in?*** refused"
    )
