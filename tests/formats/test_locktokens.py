"""Lock tokens: what is given out is read again, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventpost.formats.locktokens import SECRET_BYTES, TOKEN_CHARS_MAX, LockTokens, token

TOKENS = LockTokens(b"a" * SECRET_BYTES)
NUMBER = st.integers(0, 2**63 - 1)


@given(subscription=NUMBER, lock=NUMBER, position=NUMBER, letter=NUMBER)
def test_what_is_given_out_is_read_again(
    subscription: int, lock: int, position: int, letter: int
) -> None:
    """Lock, position and dead letter come back from their token, whatever they are."""
    text = token(TOKENS.head(subscription, lock), position, letter)

    assert TOKENS.read(subscription, [text]) == [(lock, position, letter)]
    assert len(text) <= TOKEN_CHARS_MAX
    assert text.isascii()


@given(subscription=NUMBER, other=NUMBER, lock=NUMBER)
def test_another_subscription_does_not_know_it(subscription: int, other: int, lock: int) -> None:
    """A token is of one subscription."""
    text = token(TOKENS.head(subscription, lock), 1, 0)

    assert TOKENS.read(other, [text]) == [(lock, 1, 0) if other == subscription else None]


def test_another_installation_does_not_know_it() -> None:
    """A token is of one installation's secret."""
    text = token(TOKENS.head(1, 2), 3, 0)

    assert LockTokens(b"b" * SECRET_BYTES).read(1, [text]) == [None]


@given(st.text(max_size=80))
def test_anything_else_is_no_token(text: str) -> None:
    """No text is a token that was not given out, and none makes reading fail."""
    assert TOKENS.read(1, [text, TOKENS.head(1, 2)]) == [None, None]


@given(st.integers(0, 31), st.characters())
def test_a_changed_token_is_none(index: int, other: str) -> None:
    """One character of the lock's part changed, and the token is void."""
    text = token(TOKENS.head(1, 2), 3, 0)
    changed = text[:index] + other + text[index + 1 :]

    assert TOKENS.read(1, [changed]) == [None if changed != text else (2, 3, 0)]


PLACES = ["", ".", "1.", ".1", "1.2.3", "1.0", "g", "-1", "1_0", " 1", "01", "A", "0x1", "\u0661"]


@pytest.mark.parametrize("place", [*PLACES, "8" + "0" * 15, "1.8" + "0" * 15, "1" * 99])
def test_a_place_that_is_none(place: str) -> None:
    """Behind a good beginning there must be a place, in the form in which it is given out."""
    assert TOKENS.read(1, [TOKENS.head(1, 2) + place]) == [None]


def test_the_secret_is_in_no_token() -> None:
    """Tokens of one lock share their beginning, tokens of two locks do not, and none tells the
    secret."""
    heads = {TOKENS.head(1, lock) for lock in range(100)}

    assert len({head[11:] for head in heads}) == 100
    assert all("YWFh" not in head for head in heads)
