"""Who may publish, and which decoder reads the body."""

import base64

import pytest
from azure.eventgrid import generate_sas

from eventpost.core.errors import EventpostError, InvalidEvent, Unauthorized
from eventpost.core.events import Schema
from eventpost.core.sources import InputMapping
from eventpost.core.subscriptions import Topic
from eventpost.formats import bodies, publish, sas, topics
from eventpost.formats.custom import CustomInput

KEY1 = base64.b64encode(bytes(range(32))).decode()
KEY2 = base64.b64encode(b"\xfb\xff" * 16).decode()  # holds + and /
TOPIC = Topic(id=1, name="orders", key1=KEY1, key2=KEY2, created_ms=0)
RESOURCE = topics.resource("orders")
URL = "http://127.0.0.1:7790/topics/orders/api/events"
NOW_MS = 1_795_000_000_000
EVENT = b'{"id":"1","subject":"s","eventType":"t","eventTime":"2026-11-21"}'
CLOUD_EVENT = b'{"id":"1","source":"s","type":"t"}'
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def authorize(headers: dict[bytes, bytes], query: bytes = b"") -> None:
    publish.authorize(TOPIC, headers, query, URL, NOW_MS)


def refused(headers: dict[bytes, bytes], query: bytes = b"") -> EventpostError:
    with pytest.raises(EventpostError) as caught:
        authorize(headers, query)
    assert KEY1 not in str(caught.value)
    return caught.value


TOKEN = sas.generate(URL, KEY1, NOW_MS + 1).encode()


@pytest.mark.parametrize(
    "headers",
    [
        {b"aeg-sas-key": KEY1.encode()},
        {b"aeg-sas-key": KEY2.encode()},
        {b"aeg-sas-token": TOKEN},
        {b"authorization": b"SharedAccessSignature " + TOKEN},
        {b"authorization": b"sharedaccesssignature  " + TOKEN},
        {b"authorization": b"SharedAccessKey " + KEY2.encode()},
        {b"aeg-sas-key": KEY1.encode(), b"authorization": b"Basic eDp5"},
    ],
)
def test_accepted(headers: dict[bytes, bytes]) -> None:
    """Each way to present a key or a token opens the topic."""
    authorize(headers)


@pytest.mark.parametrize(
    "query",
    [
        b"aeg-sas-key=" + KEY1.encode(),
        b"api-version=2018-01-01&aeg-sas-key=" + KEY1.encode(),
        b"aeg-sas-key=" + KEY2.encode(),
        b"aeg-sas-key=" + KEY2.replace("+", "%2B").replace("/", "%2f").encode(),
    ],
)
def test_key_in_the_query(query: bytes) -> None:
    """The key may stand in the query, encoded or not."""
    authorize({}, query)


@pytest.mark.parametrize(
    ("headers", "query", "says"),
    [
        ({}, b"", "must contain one of"),
        ({}, b"api-version=2018-01-01", "must contain one of"),
        ({b"aeg-sas-key": b"wrong"}, b"", "not authorized"),
        ({b"aeg-sas-key": KEY1.lower().encode()}, b"", "not authorized"),
        ({b"aeg-sas-key": b"\xff"}, b"", "not authorized"),
        ({}, b"aeg-sas-key=wrong", "not authorized"),
        ({}, b"x-aeg-sas-key=" + KEY1.encode(), "must contain one of"),
        ({b"aeg-sas-token": b"nonsense"}, b"", "cannot be read"),
        ({b"aeg-sas-token": b"\xff"}, b"", "cannot be read"),
        ({b"authorization": b"SharedAccessSignature nonsense"}, b"", "cannot be read"),
        ({b"authorization": b"SharedAccessKey wrong"}, b"", "not authorized"),
        ({b"authorization": b"Bearer abc"}, b"", "unsupported Authorization scheme 'Bearer'"),
        ({b"authorization": b"Basic eDp5"}, b"", "unsupported Authorization scheme 'Basic'"),
        ({b"authorization": b""}, b"", "unsupported"),
        ({b"aeg-sas-key": b"wrong", b"aeg-sas-token": TOKEN}, b"", "not authorized"),
    ],
)
def test_refused(headers: dict[bytes, bytes], query: bytes, says: str) -> None:
    """Everything else is 401 and says what is missing; the first credential decides."""
    error = refused(headers, query)

    assert isinstance(error, Unauthorized)
    assert says in error.what


@pytest.mark.parametrize(
    ("headers", "query"), [({b"aeg-sas-key": b""}, b""), ({}, b"aeg-sas-key=")]
)
def test_empty_key(headers: dict[bytes, bytes], query: bytes) -> None:
    """A key that is present but empty is 400 InvalidSas."""
    error = refused(headers, query)

    assert isinstance(error, InvalidEvent)
    assert (error.status, error.code, error.detail_code) == (400, "BadRequest", "InvalidSas")


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_query_bound(beyond: int) -> None:
    """A query is read up to its bound of fields."""
    fields = publish.QUERY_FIELDS_MAX + beyond
    query = b"&".join([b"aeg-sas-key=" + KEY1.encode()] + [b"a=b"] * (fields - 1))

    if beyond <= 0:
        authorize({}, query)
    else:
        assert refused({}, query).status == 400


def test_expired_token() -> None:
    """A token is refused from its expiry on."""
    with pytest.raises(Unauthorized, match="expired"):
        publish.authorize(TOPIC, {b"aeg-sas-token": TOKEN}, b"", URL, NOW_MS + 1)


def test_official_token_in_both_headers() -> None:
    """The official client's token is accepted in either header."""
    from datetime import UTC, datetime, timedelta

    expiry = datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(hours=1)
    token = generate_sas(URL, KEY1, expiry).encode()

    authorize({b"aeg-sas-token": token})
    authorize({b"authorization": b"SharedAccessSignature " + token})


@pytest.mark.parametrize(
    "content_type",
    [None, b"", b"text/plain", b"application/octet-stream", b"application/json; charset=utf-8"],
)
def test_any_content_type_for_event_grid(content_type: bytes | None) -> None:
    """A topic of the Event Grid schema reads the body whatever its content type says, or none."""
    headers = {} if content_type is None else {b"content-type": content_type}

    [event] = publish.decode_publish(Schema.EVENT_GRID, EVENT, headers, RESOURCE)

    assert event.type == "t"


def test_schema_chooses_the_decoder() -> None:
    """The topic's schema decides how a body is read."""
    json_type = {b"content-type": b"application/json"}

    [one] = publish.decode_publish(Schema.EVENT_GRID, EVENT, {}, RESOURCE)
    [other] = publish.decode_publish(Schema.CLOUD_EVENTS, CLOUD_EVENT, json_type, RESOURCE)

    assert (one.type, other.type) == ("t", "t")
    with pytest.raises(InvalidEvent):
        publish.decode_publish(Schema.EVENT_GRID, CLOUD_EVENT, json_type, RESOURCE)
    with pytest.raises(InvalidEvent):
        publish.decode_publish(Schema.CLOUD_EVENTS, EVENT, json_type, RESOURCE)
    custom = CustomInput(InputMapping(fields={"id": "subject"}), str, int)
    [mapped] = publish.decode_publish(Schema.CUSTOM, EVENT, json_type, RESOURCE, custom)
    assert mapped.id == "s"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_request_bound(beyond: int) -> None:
    """A request is read up to its bound and is 413 beyond it."""
    half = b"x" * 700_000
    events = [EVENT[:-1] + b',"data":"' + half + b'"}', EVENT[:-1] + b',"data":"']
    frame = len(b"[" + events[0] + b"," + events[1] + b'"}]')
    filling = b"y" * (bodies.REQUEST_BYTES_MAX - frame + beyond)
    body = b"[" + events[0] + b"," + events[1] + filling + b'"}]'
    assert len(body) == bodies.REQUEST_BYTES_MAX + beyond

    if beyond <= 0:
        assert len(publish.decode_publish(Schema.EVENT_GRID, body, {}, RESOURCE)) == 2
    else:
        with pytest.raises(InvalidEvent, match="1536000"):
            publish.decode_publish(Schema.EVENT_GRID, body, {}, RESOURCE)


@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({}, None),
        ({b"tracestate": b"a=b"}, None),
        ({b"traceparent": PARENT}, (PARENT.decode(), "")),
        ({b"traceparent": PARENT, b"tracestate": b"a=b"}, (PARENT.decode(), "a=b")),
        ({b"traceparent": b"garbage"}, None),
        ({b"traceparent": PARENT, b"tracestate": b"\xff"}, (PARENT.decode(), "")),
    ],
)
def test_trace(headers: dict[bytes, bytes], trace: tuple[str, str] | None) -> None:
    """The request's trace context travels with every event; what is not one is left out."""
    body = b"[" + EVENT + b"," + EVENT + b"]"

    events = publish.decode_publish(Schema.EVENT_GRID, body, headers, RESOURCE)

    assert [event.trace for event in events] == [trace, trace]


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_tracestate_bound(beyond: int) -> None:
    """A trace state is passed on up to its bound and left out beyond it."""
    state = b"a=" + b"x" * (publish.TRACESTATE_BYTES_MAX - 2 + beyond)

    [event] = publish.decode_publish(
        Schema.EVENT_GRID, EVENT, {b"traceparent": PARENT, b"tracestate": state}, RESOURCE
    )

    assert event.trace == (PARENT.decode(), state.decode() if beyond <= 0 else "")
