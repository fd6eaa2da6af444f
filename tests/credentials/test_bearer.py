"""Which bearer tokens are good, and what they may do."""

import base64
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eventpost.core.errors import Forbidden, Overloaded, Unauthorized
from eventpost.credentials.bearer import Tokens
from eventpost.credentials.bearer_settings import Issuer, TokenLimits, read_grants, read_issuers
from eventpost.credentials.issuer_keys import KeysUnavailable, fetch
from tests.credentials.issuers import AUDIENCE, SigningKey, claims_of, issuing, jwks

LIMITS = TokenLimits()
ISSUER = "https://login.example/tenant/v2.0"
KEY = SigningKey()
OTHER = SigningKey("key-2")
KEYS = jwks(KEY)
SENDER = ["EventGrid.Sender publish orders songs-*"]


class Judge:
    """Tokens with keys and a clock in the test's hand."""

    def __init__(
        self, keys: str | Exception = KEYS, roles: list[str] = SENDER, **limits: Any
    ) -> None:
        self.now_s = 1_767_225_600.0
        self.keys = keys
        self.waiting: list[Callable[[], None]] = []
        self.fetch_count = 0
        self.tokens = Tokens(
            [Issuer(ISSUER)],
            [AUDIENCE],
            read_grants(roles),
            self._fetch,
            lambda: self.now_s,
            TokenLimits(**limits),
        )

    def _fetch(self, issuer: Issuer, done: Callable[[str | Exception], None]) -> None:
        self.fetch_count += 1
        self.waiting.append(lambda: done(self.keys))

    def started(self) -> "Judge":
        self.tokens.start()
        self.arrive()
        return self

    def arrive(self) -> None:
        """What was fetched arrives."""
        for each in self.waiting:
            each()
        self.waiting.clear()

    def token(self, key: SigningKey = KEY, **changed: Any) -> str:
        return key.sign(claims_of(ISSUER, self.now_s, **changed))

    def check(self, token: str, topic: str = "orders", action: str = "publish") -> None:
        self.tokens.check(token, action, topic)


def refusal(judge: Judge, token: str, **asked: str) -> Unauthorized:
    with pytest.raises(Unauthorized) as refused:
        judge.check(token, **asked)
    assert token not in str(refused.value) or not token
    return refused.value


# --- good and bad tokens --------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "EdDSA"])
def test_a_good_token(algorithm: str) -> None:
    """A token of a configured issuer, for us, in time, with a role: it is let in, also again."""
    key = SigningKey("k", algorithm)
    judge = Judge(jwks(OTHER, key)).started()
    token = judge.token(key)

    judge.check(token)
    judge.check(token)
    judge.check(token, topic="songs-blues")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": 0}, "EP3603"),
        ({"exp": None}, "EP3602"),
        ({"exp": "soon"}, "EP3602"),
        ({"nbf": 4_000_000_000}, "EP3603"),
        ({"aud": "https://storage.azure.com"}, "EP3604"),
        ({"aud": None}, "EP3602"),
        ({"iss": "https://login.example/other/v2.0"}, "EP3604"),
        ({"iss": ISSUER + "/"}, "EP3604"),
        ({"iss": None}, "EP3604"),
        ({"iss": [ISSUER]}, "EP3604"),
    ],
)
def test_claims_that_do_not_fit(changed: dict[str, Any], code: str) -> None:
    """Time, audience and issuer are looked at to the letter, and each says its own finding."""
    judge = Judge().started()
    claims = claims_of(ISSUER, judge.now_s, **changed)
    # The library does not make tokens with some of these: they are signed as they are.
    token = _signed_raw(KEY, claims)

    error = refusal(judge, token)

    assert error.status == 401
    assert code in str(error)


def _signed_raw(key: SigningKey, claims: dict[str, Any]) -> str:
    from jwt.api_jws import PyJWS

    assert key.name is not None
    return PyJWS().encode(
        json.dumps(claims).encode(), key.private, key.algorithm, headers={"kid": key.name}
    )


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "....", "x" * 16_385, "é.é.é", "e30.e30.", "bnVsbA.bnVsbA.bnVsbA"],
)
def test_what_is_no_token(token: str) -> None:
    """Anything else is refused like a bad token, whatever it holds."""
    assert "EP3602" in str(refusal(Judge().started(), token))


def test_another_key_with_the_same_name() -> None:
    """Whoever calls his key like the issuer's does not get in, nor does a changed token."""
    judge = Judge().started()
    forged = SigningKey(KEY.name).sign(claims_of(ISSUER, judge.now_s))
    head, _, signature = judge.token().split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims_of(ISSUER, judge.now_s)).encode())

    assert "EP3602" in str(refusal(judge, forged))
    assert "EP3602" in str(refusal(judge, f"{head}.{body.decode().rstrip('=')}.{signature}x"))


def test_a_shared_secret_or_none_signs_nothing() -> None:
    """A token without signature, or signed with the issuer's public key as a secret, is refused."""
    judge = Judge().started()
    claims = claims_of(ISSUER, judge.now_s)
    import jwt

    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": KEY.name})
    shared = jwt.encode(claims, "x" * 64, algorithm="HS256", headers={"kid": KEY.name})

    assert "algorithm" in str(refusal(judge, unsigned))
    assert "algorithm" in str(refusal(judge, shared))


@pytest.mark.parametrize(
    ("late_s", "is_good"), [(LIMITS.leeway_s - 1, True), (LIMITS.leeway_s, False)]
)
def test_the_leeway_of_clocks(late_s: float, is_good: bool) -> None:
    """Clocks may differ by a minute; a token that was good before is looked at again."""
    judge = Judge().started()
    token = judge.token()
    judge.check(token)

    judge.now_s += 3_600 + late_s

    if is_good:
        judge.check(token)
    else:
        assert "EP3603" in str(refusal(judge, token))


def test_tokens_remembered_are_bounded() -> None:
    """However many tokens come, a bounded number is remembered."""
    judge = Judge().started()
    for number in range(5):
        judge.check(judge.token(jti=str(number)))
    known = judge.tokens._known
    assert len(known) == 5
    known.update(dict.fromkeys(map(str, range(LIMITS.known_max)), next(iter(known.values()))))

    judge.check(judge.token(jti="one more"))

    assert len(judge.tokens._known) == 1


@pytest.mark.parametrize(("late_s", "is_good"), [(4, True), (5, False)])
def test_the_leeway_is_a_setting(late_s: float, is_good: bool) -> None:
    """Clocks may differ by as much as the setting says, and by no more."""
    judge = Judge(leeway_s=5).started()
    token = judge.token()
    judge.now_s += 3_600 + late_s

    if is_good:
        judge.check(token)
    else:
        assert "EP3603" in str(refusal(judge, token))


@pytest.mark.parametrize(("spare", "is_good"), [(1, True), (0, True), (-1, False)])
def test_how_long_a_token_may_be_is_a_setting(spare: int, is_good: bool) -> None:
    """A token of as many characters as the setting says is read, a longer one is not."""
    token = Judge().token()
    judge = Judge(token_chars_max=len(token) + spare).started()

    if is_good:
        judge.check(token)
    else:
        assert "characters" in str(refusal(judge, token))


def test_how_many_tokens_are_remembered_is_a_setting() -> None:
    """As many as the setting says are known again; with one more the memory starts anew."""
    judge = Judge(known_max=2).started()
    counts = []
    for number in range(3):
        judge.check(judge.token(jti=str(number)))
        counts.append(len(judge.tokens._known))

    assert counts == [1, 2, 1]


# --- what they may do -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "claims", "topic", "action", "is_allowed"),
    [
        (SENDER, {}, "ORDERS", "publish", True),
        (SENDER, {}, "bills", "publish", False),
        (SENDER, {}, "orders", "receive", False),
        (SENDER, {"roles": None}, "orders", "publish", False),
        (SENDER, {"roles": [7]}, "orders", "publish", False),
        (SENDER, {"roles": None, "scp": "a EventGrid.Sender"}, "orders", "publish", True),
        (SENDER, {"roles": None, "scope": "EventGrid.Sender"}, "orders", "publish", True),
        (["* * *"], {"roles": None}, "bills", "receive", True),
        (["oid=7 receive bills"], {"oid": "7"}, "bills", "receive", True),
        (["oid=7 receive bills"], {"oid": "8"}, "bills", "receive", False),
        (["oid=7 receive bills"], {"roles": ["oid=7"]}, "bills", "receive", False),
        ([], {}, "orders", "publish", False),
    ],
)
def test_roles(
    roles: list[str], claims: dict[str, Any], topic: str, action: str, is_allowed: bool
) -> None:
    """A good token may do what a line of the settings grants to it, and nothing else: 403."""
    judge = Judge(roles=roles).started()
    token = judge.token(**claims)

    if is_allowed:
        judge.check(token, topic=topic, action=action)
        return
    error = refusal(judge, token, topic=topic, action=action)
    assert isinstance(error, Forbidden)
    assert error.status == 403
    assert "EP3605" in str(error)


# --- keys -----------------------------------------------------------------------------------------


def test_before_the_keys_are_there() -> None:
    """Who comes before the keys is told to come again, and they are fetched once."""
    judge = Judge()
    token = judge.token()

    for _ in range(3):
        with pytest.raises(Overloaded, match="EP3606"):
            judge.check(token)
    assert judge.fetch_count == 1
    judge.arrive()

    judge.check(token)


def test_keys_that_cannot_be_had() -> None:
    """While the issuer does not answer it is 503 with the reason, and it is asked now and then."""
    judge = Judge(KeysUnavailable("the line is dead.")).started()

    with pytest.raises(Overloaded, match="the line is dead"):
        judge.check(judge.token())
    assert judge.fetch_count == 1
    judge.now_s += LIMITS.keys_retry_s
    judge.keys = jwks(KEY)
    with pytest.raises(Overloaded):
        judge.check(judge.token())
    judge.arrive()
    judge.check(judge.token())


SECRET_KEY = '{"keys": [{"kty": "oct", "k": "AAAA"}]}'


@pytest.mark.parametrize("text", ["", "{}", '{"keys": []}', SECRET_KEY, "[]", "null"])
def test_documents_without_keys(text: str) -> None:
    """What holds no public key for signatures is no answer."""
    judge = Judge(text).started()

    with pytest.raises(Overloaded, match="EP3606"):
        judge.check(judge.token())


def test_a_new_key_of_the_issuer() -> None:
    """A key that is not known yet is asked for; a name that nobody has is refused, and does not
    make us ask again and again."""
    judge = Judge().started()
    judge.now_s += LIMITS.keys_retry_s
    judge.keys = jwks(KEY, OTHER)
    token = judge.token(OTHER)
    with pytest.raises(Overloaded):
        judge.check(token)
    judge.arrive()
    judge.check(token)

    stranger = judge.token(SigningKey("nobody's"))
    for _ in range(3):
        assert "EP3602" in str(refusal(judge, stranger))
    assert judge.fetch_count == 2


def test_old_keys_are_renewed_while_they_serve() -> None:
    """After an hour keys are fetched again; those in hand serve meanwhile, also when it fails."""
    judge = Judge().started()
    judge.now_s += LIMITS.keys_renew_s + 1
    judge.keys = KeysUnavailable("away.")

    judge.check(judge.token())
    assert judge.fetch_count == 2
    judge.arrive()
    judge.check(judge.token())

    judge.now_s += LIMITS.keys_retry_s
    judge.keys = jwks(OTHER)
    old = judge.token()
    judge.check(old)
    judge.arrive()
    assert "EP3602" in str(refusal(judge, old))


@pytest.mark.parametrize(("after_s", "is_asked"), [(7, False), (8, True)])
def test_how_old_keys_may_become_is_a_setting(after_s: int, is_asked: bool) -> None:
    """Keys older than the setting says are fetched again, younger ones are not."""
    judge = Judge(keys_renew_s=7, keys_retry_s=1).started()
    judge.now_s += after_s

    judge.check(judge.token())

    assert judge.fetch_count == 1 + is_asked


@pytest.mark.parametrize(("after_s", "is_asked"), [(2, False), (3, True)])
def test_how_often_keys_are_asked_for_is_a_setting(after_s: int, is_asked: bool) -> None:
    """A key that is not known is asked for once in the time that the setting says."""
    judge = Judge(keys_retry_s=3).started()
    judge.now_s += after_s
    with pytest.raises((Overloaded, Unauthorized)):
        judge.check(judge.token(OTHER))

    assert judge.fetch_count == 1 + is_asked


def test_a_withdrawn_key() -> None:
    """A token that is known and comes again and again stops being good once the hour is over and
    its key is gone."""
    judge = Judge(jwks(KEY, OTHER)).started()
    token = judge.token(exp=judge.now_s + 10 * LIMITS.keys_renew_s)
    judge.check(token)
    judge.keys = jwks(OTHER)

    judge.now_s += LIMITS.keys_renew_s + 1
    judge.check(token)
    judge.arrive()

    assert "EP3602" in str(refusal(judge, token))


def test_a_key_without_a_name() -> None:
    """A token that names no key is verified with the only one there is, and with none of two."""
    nameless = SigningKey(None)
    judge = Judge(jwks(nameless)).started()
    judge.check(judge.token(nameless))

    judge = Judge(jwks(KEY, OTHER)).started()
    assert "EP3602" in str(refusal(judge, judge.token(nameless)))


# --- where keys come from -------------------------------------------------------------------------


def test_discovery() -> None:
    """Keys are found from the issuer's URL alone."""
    with issuing(KEY) as issuer:
        assert fetch(Issuer(issuer.url)) == jwks(KEY)
        assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_keys_named_by_hand(tmp_path: Path) -> None:
    """A URL or a file of keys needs no discovery."""
    (tmp_path / "keys.json").write_text(jwks(KEY))
    with issuing(KEY) as issuer:
        assert fetch(Issuer(ISSUER, f"{issuer.url}/keys")) == jwks(KEY)
        assert issuer.asked == ["/keys"]

    assert fetch(Issuer(ISSUER, f"file:{tmp_path}/keys.json")) == jwks(KEY)


@pytest.mark.parametrize(
    ("path", "answer", "says"),
    [
        ("/.well-known/openid-configuration", (404, ""), "404"),
        ("/.well-known/openid-configuration", (200, "nonsense"), "JSON"),
        ("/.well-known/openid-configuration", (200, "[]"), "JSON"),
        ("/.well-known/openid-configuration", (200, '{"issuer": "https://x"}'), "of the issuer"),
        ("/.well-known/openid-configuration", (302, "/keys"), "302"),
        ("/keys", (500, ""), "500"),
        ("/keys", (200, " " * (LIMITS.keys_bytes_max + 1)), "more than"),
    ],
)
def test_issuers_that_answer_wrongly(path: str, answer: tuple[int, str], says: str) -> None:
    """What is no discovery document of that issuer, a redirect, an error: said, not believed."""
    with issuing(KEY) as issuer:
        issuer.answers[path] = answer
        with pytest.raises(KeysUnavailable, match=says):
            fetch(Issuer(issuer.url))


@pytest.mark.parametrize(("spare", "is_good"), [(1, True), (0, True), (-1, False)])
def test_how_large_a_document_may_be_is_a_setting(spare: int, is_good: bool) -> None:
    """A document of as many bytes as the setting says is read, a larger one is not."""
    limits = TokenLimits(keys_bytes_max=len(KEYS) + spare)
    with issuing(KEY) as issuer:
        if is_good:
            assert fetch(Issuer(ISSUER, f"{issuer.url}/keys"), limits=limits) == KEYS
        else:
            with pytest.raises(KeysUnavailable, match=f"more than {limits.keys_bytes_max}"):
                fetch(Issuer(ISSUER, f"{issuer.url}/keys"), limits=limits)


def test_an_issuer_that_says_nothing() -> None:
    """It is waited for as long as the setting says."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
        with pytest.raises(KeysUnavailable, match="timed out"):
            fetch(Issuer(ISSUER, place), limits=TokenLimits(keys_answer_s_max=0.05))


def test_keys_over_an_unsafe_line() -> None:
    """A discovery document that sends us to plain http elsewhere is not followed."""
    with issuing(KEY) as issuer:
        document = json.dumps({"issuer": issuer.url, "jwks_uri": "http://keys.example/keys"})
        issuer.answers["/.well-known/openid-configuration"] = (200, document)
        with pytest.raises(KeysUnavailable, match="https"):
            fetch(Issuer(issuer.url))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file of keys is told by its name."""
    with pytest.raises(KeysUnavailable, match="nowhere"):
        fetch(Issuer(ISSUER, f"file:{tmp_path}/nowhere.json"))


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("http://login.example", "login.example", "file:/keys"),
        *(f"{ISSUER} http://x/keys", f"{ISSUER} a b"),
    ],
)
def test_issuers_that_cannot_be(text: str) -> None:
    """An issuer, and the place of its keys, is an https URL, or a file, or this machine."""
    with pytest.raises(ValueError, match="`"):
        read_issuers([text])
    assert read_issuers([ISSUER, f"{ISSUER} file:/k", "http://127.0.0.1:1"])


@pytest.mark.parametrize(
    "text", ["", "Sender", "Sender publish", "Sender write orders", "color=red publish *"]
)
def test_grants_that_cannot_be(text: str) -> None:
    """A line that grants nothing is refused."""
    with pytest.raises(ValueError, match="`"):
        read_grants([text])
