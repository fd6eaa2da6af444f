"""The handlers of the page docs/receive.md, behind real servers, fed by a real grid."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any
from urllib.request import Request, urlopen

import azure.functions as func
import pytest

from eventpost.receive import EventGridReceiver, ReceivedEvent, TryLater
from eventpost.testing import Grid
from tests.documentation import ROOT, blocks
from tests.receive import serving

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
PAGE = ROOT / "docs/receive.md"
SCHEMAS = ["eventgridschema", "cloudeventschemav1_0"]
Serve = Callable[[ModuleType], AbstractContextManager[str]]


def _azure(module: ModuleType) -> AbstractContextManager[str]:
    """The function as the host finds it: registered by the app, called with `req`."""
    (function,) = module.app.get_functions()
    assert function.get_function_name() == "songs"
    return serving.plain(serving.azure_host(function.get_user_function()))


FRAMEWORKS: dict[str, Serve] = {
    "starlette_station": lambda module: serving.asgi(module.app),
    "flask_station": lambda module: serving.wsgi(module.app),
    "lambda_station": lambda module: serving.plain(serving.lambda_v2(module.handler)),
    "azure_station": _azure,
    "plain_station": lambda module: serving.plain(module.Station),
}


def from_page(name: str) -> ModuleType:
    """The block of the page that is the file `name`, imported."""
    (block,) = (each for each in blocks(PAGE) if each.text.startswith(f"# {name}.py\n"))
    module = ModuleType(name)
    exec(compile(block.text, f"{name}.py", "exec"), module.__dict__)
    return module


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_SECRET", SECRET)


@pytest.fixture(params=list(FRAMEWORKS))
def station(request: pytest.FixtureRequest) -> Iterator[tuple[ModuleType, str]]:
    """Each handler of the page, and its URL."""
    module = from_page(request.param)
    with FRAMEWORKS[request.param](module) as url:
        yield module, f"{url}/api/songs"


def subscribe(grid: Grid, url: str, schema: str, **declared: Any) -> None:
    grid.topic("songs")
    view = grid.subscribe(
        "songs",
        url,
        signing_secrets=["env:STATION_SECRET"],
        event_delivery_schema=schema,
        **declared,
    )
    assert view.provisioning_state == "Succeeded"


def request_song(grid: Grid, title: str, genre: str = "blues") -> None:
    grid.publish("songs", {"subject": f"genre/{genre}", "data": {"title": title}})


def wait_settled(grid: Grid, count: int) -> None:
    """Until so many deliveries have ended, in whatever way."""

    def has_ended(_: object) -> bool:
        tally = grid.app.status("songs", "handler").tally
        return tally.matched == count and tally.pending == 0

    grid.wait_until(has_ended)
    grid.settle()


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_handler_of_the_page(grid: Grid, station: tuple[ModuleType, str], schema: str) -> None:
    """The page's handler consents, verifies the signature, and gets the event in each schema."""
    module, url = station
    subscribe(grid, url, schema)

    request_song(grid, "Dust My Broom")
    wait_settled(grid, 1)

    assert module.playlist == ["Dust My Broom"]
    assert grid.books().delivered == 1


@pytest.mark.parametrize(
    "station", [name for name in FRAMEWORKS if name != "plain_station"], indirect=True
)
def test_a_song_that_is_rejected(grid: Grid, station: tuple[ModuleType, str]) -> None:
    """What the handler rejects is a dead letter after one attempt, and is not played."""
    module, url = station
    subscribe(grid, url, "eventgridschema")

    request_song(grid, "Paranoid", genre="rock")
    wait_settled(grid, 1)

    (letter,) = grid.dead_letters()
    assert letter.dead_letter_reason == "UndeliverableDueToHttpBadRequest"
    assert letter.delivery_attempts == 1
    assert module.playlist == []


def test_strangers_are_refused(station: tuple[ModuleType, str]) -> None:
    """Whoever does not sign reaches no handler, and gets no consent either."""
    module, url = station
    event = {"id": "1", "eventType": "T", "subject": "genre/blues", "data": {"title": "no"}}
    for kind in ("Notification", "SubscriptionValidation"):
        headers = {"content-type": "application/json", "aeg-event-type": kind}
        request = Request(url, json.dumps([event]).encode(), headers, method="POST")

        with pytest.raises(OSError, match="401") as refused, urlopen(request):
            pass

        refused.value.close()  # type: ignore[attr-defined] # an HTTPError holds the connection
    assert module.playlist == []


# --- what the handler raises, and the other shapes ------------------------------------------------


def asgi_of(receiver: EventGridReceiver, handle: Any) -> AbstractContextManager[str]:
    return serving.asgi(receiver.asgi(handle))


def wsgi_of(receiver: EventGridReceiver, handle: Any) -> AbstractContextManager[str]:
    return serving.wsgi(receiver.wsgi(handle))


def azure_of(receiver: EventGridReceiver, handle: Any) -> AbstractContextManager[str]:
    return serving.plain(serving.azure_host(receiver.azure_function(handle)))


@contextmanager
def async_azure_of(receiver: EventGridReceiver, handle: Any) -> Iterator[str]:
    import asyncio

    function = receiver.async_azure_function(handle)

    def call(req: func.HttpRequest) -> func.HttpResponse:
        async def awaited() -> func.HttpResponse:
            return await function(req)

        return asyncio.run(awaited())

    with serving.plain(serving.azure_host(call)) as url:
        yield url


def lambda_of(shape: Any) -> Callable[[EventGridReceiver, Any], AbstractContextManager[str]]:
    return lambda receiver, handle: serving.plain(shape(receiver.lambda_handler(handle)))


WAYS = {
    "asgi": asgi_of,
    "wsgi": wsgi_of,
    "azure": azure_of,
    "async-azure": async_azure_of,
    "lambda-v2": lambda_of(serving.lambda_v2),
    "lambda-v1": lambda_of(serving.lambda_v1),
    "load-balancer": lambda_of(serving.load_balancer),
}


@pytest.fixture(params=list(WAYS))
def serve(request: pytest.FixtureRequest) -> Callable[..., AbstractContextManager[str]]:
    return WAYS[request.param]


@pytest.mark.parametrize("is_async", [False, True])
def test_every_way_takes_both_kinds_of_functions(
    grid: Grid, serve: Callable[..., AbstractContextManager[str]], is_async: bool
) -> None:
    """A plain function and a coroutine function get each event of a batch, in order, with the
    secret in the query, and only then is the batch delivered."""
    received: list[str] = []

    def play(event: ReceivedEvent) -> None:
        received.append(event.data["title"])

    async def play_later(event: ReceivedEvent) -> None:
        received.append(event.data["title"])

    receiver = EventGridReceiver(secrets=["a+b/c=&d"], secret_query="code")
    with serve(receiver, play_later if is_async else play) as url:
        grid.topic("songs")
        grid.subscribe(
            "songs", f"{url}/api?x=1&code=a%2Bb%2Fc%3D%26d", max_events_per_batch=3, concurrency=1
        )
        grid.publish("songs", *[{"data": {"title": str(number)}} for number in range(3)])
        wait_settled(grid, 3)

    assert received == ["0", "1", "2"]


def test_trying_later(grid: Grid, serve: Callable[..., AbstractContextManager[str]]) -> None:
    """A handler that says when is asked again then, and not before."""
    answers = [TryLater(after_s=600, reason="full"), None]

    def play(event: ReceivedEvent) -> None:
        if (error := answers.pop(0)) is not None:
            raise error

    with serve(EventGridReceiver(is_unverified=True), play) as url:
        grid.topic("songs")
        grid.subscribe("songs", url)
        request_song(grid, "Crossroads")
        grid.wait_until(lambda _: len(answers) == 1 and grid.app.status("songs", "handler").ladder)
        grid.clock.advance(590)
        assert len(answers) == 1
        grid.clock.advance(80)
        wait_settled(grid, 1)

    assert grid.books().delivered == 1


def test_a_handler_that_fails(
    grid: Grid, serve: Callable[..., AbstractContextManager[str]]
) -> None:
    """What a handler raises is no answer of ours: the framework says 500, the grid tries again."""
    failures = [RuntimeError("the player is broken")]

    def play(event: ReceivedEvent) -> None:
        if failures:
            raise failures.pop()

    with serve(EventGridReceiver(is_unverified=True), play) as url:
        grid.topic("songs")
        grid.subscribe("songs", url)
        request_song(grid, "Crossroads")
        grid.wait_until(lambda _: grid.app.status("songs", "handler").ladder)
        grid.clock.advance(12)
        wait_settled(grid, 1)

    assert grid.books().delivered == 1
