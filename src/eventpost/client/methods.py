"""The operations as methods, awaited or done at once according to the client they are called on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from eventpost.client.calls import Call, Lines, Pages
from eventpost.client.operations import (
    connections,
    deadletters,
    domains,
    server,
    sources,
    subscriptions,
    topics,
)

if TYPE_CHECKING:
    from eventpost.client.clients import AsyncClient, Client

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


class _Calling(Generic[Arguments, Answer]):
    """An operation as a method: awaited on `AsyncClient`, done at once on `Client`."""

    def __init__(self, build: Callable[Arguments, Call[Answer]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[Arguments, Answer]: ...
    @overload
    def __get__(
        self, client: "AsyncClient", owner: type
    ) -> Callable[Arguments, Awaitable[Answer]]: ...
    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Any:
        return self if client is None else _bound(self._build, client._send)


class _Following(Generic[Arguments, Answer]):
    """An operation whose method gives an iterator, asynchronous on `AsyncClient`."""

    def __init__(self, build: Callable[Arguments, Lines[Answer] | Pages[Answer]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[Arguments, Iterator[Answer]]: ...
    @overload
    def __get__(
        self, client: "AsyncClient", owner: type
    ) -> Callable[Arguments, AsyncIterator[Answer]]: ...
    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Any:
        return self if client is None else _bound(self._build, client._follow)


class _Gathering(Generic[Arguments, Answer]):
    """An operation whose method gives all pages as one list, awaited on `AsyncClient`."""

    def __init__(self, build: Callable[Arguments, Pages[Answer]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", owner: type) -> Callable[Arguments, list[Answer]]: ...
    @overload
    def __get__(
        self, client: "AsyncClient", owner: type
    ) -> Callable[Arguments, Awaitable[list[Answer]]]: ...
    def __get__(self, client: "Client | AsyncClient | None", owner: type) -> Any:
        return self if client is None else _bound(self._build, client._gather)


def _bound(build: Callable[..., Any], send: Callable[[Any], Any]) -> Callable[..., Any]:
    @wraps(build)
    def method(*arguments: Any, **named: Any) -> Any:
        return send(build(*arguments, **named))

    return method


class Operations:
    """What both clients can do. Errors are `eventpost.core.errors`."""

    list_topics = _Calling(topics.list_topics)
    create_topic = _Calling(topics.create_topic)
    show_topic = _Calling(topics.show_topic)
    delete_topic = _Calling(topics.delete_topic)
    list_keys = _Calling(topics.list_keys)
    regenerate_key = _Calling(topics.regenerate_key)
    publish_events = _Calling(topics.publish_events)
    tail_topic = _Following(topics.tail_topic)

    list_domains = _Calling(domains.list_domains)
    create_domain = _Calling(domains.create_domain)
    show_domain = _Calling(domains.show_domain)
    update_domain = _Calling(domains.update_domain)
    delete_domain = _Calling(domains.delete_domain)
    list_domain_keys = _Calling(domains.list_domain_keys)
    regenerate_domain_key = _Calling(domains.regenerate_domain_key)
    list_domain_topics = _Gathering(domains.list_domain_topics)
    create_domain_topic = _Calling(domains.create_domain_topic)
    show_domain_topic = _Calling(domains.show_domain_topic)
    delete_domain_topic = _Calling(domains.delete_domain_topic)

    list_subscriptions = _Gathering(subscriptions.list_subscriptions)
    create_subscription = _Calling(subscriptions.create_subscription)
    show_subscription = _Calling(subscriptions.show_subscription)
    replace_subscription = _Calling(subscriptions.replace_subscription)
    update_subscription = _Calling(subscriptions.update_subscription)
    delete_subscription = _Calling(subscriptions.delete_subscription)
    show_full_url = _Calling(subscriptions.show_full_url)
    pause_subscription = _Calling(subscriptions.pause_subscription)
    resume_subscription = _Calling(subscriptions.resume_subscription)
    rewind_subscription = _Calling(subscriptions.rewind_subscription)
    test_subscription = _Calling(subscriptions.test_subscription)

    list_connections = _Calling(connections.list_connections)
    create_connection = _Calling(connections.create_connection)
    show_connection = _Calling(connections.show_connection)
    replace_connection = _Calling(connections.replace_connection)
    update_connection = _Calling(connections.update_connection)
    delete_connection = _Calling(connections.delete_connection)

    list_sources = _Calling(sources.list_sources)
    create_source = _Calling(sources.create_source)
    show_source = _Calling(sources.show_source)
    replace_source = _Calling(sources.replace_source)
    update_source = _Calling(sources.update_source)
    delete_source = _Calling(sources.delete_source)
    pause_source = _Calling(sources.pause_source)
    resume_source = _Calling(sources.resume_source)

    list_dead_letters = _Calling(deadletters.list_dead_letters)
    dead_letters = _Following(deadletters.dead_letters)
    count_dead_letters = _Calling(deadletters.count_dead_letters)
    show_dead_letter = _Calling(deadletters.show_dead_letter)
    replay = _Following(deadletters.replay)
    purge = _Following(deadletters.purge)
    trace_event = _Calling(deadletters.trace_event)

    show_usage = _Calling(server.show_usage)
    verify_store = _Calling(server.verify_store)
    backup_store = _Calling(server.backup_store)
    show_status = _Calling(server.show_status)
    show_health = _Calling(server.show_health)
    show_report = _Calling(server.show_report)
    show_config = _Calling(server.show_config)
