"""Endpoint kinds are found by name."""

import importlib.metadata

import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.destinations import kinds, queue, webhook
from eventpost.queues import kinds as queue_kinds


def test_built_in() -> None:
    """A module of the package is a kind under its name."""
    assert kinds.factory("webhook") is webhook.new_destination


@pytest.mark.parametrize("kind", ["sqs", "storagequeue", "rabbitmq", "kafka"])
def test_queue_systems(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every queue system is a kind of endpoint, and all are served by one destination."""
    monkeypatch.setattr(queue_kinds, "queue_system", lambda name: name)

    assert kinds.factory(kind) is queue.new_destination


@pytest.mark.usefixtures("pigeon")
def test_a_third_partys_queue_system() -> None:
    """So is one that an installed package provides."""
    assert kinds.factory("pigeon") is queue.new_destination


@pytest.mark.parametrize(
    "kind", ["pigeon", "handshake", "kinds", "queue", "", "../x", "os.path", "Webhook"]
)
def test_unknown(kind: str) -> None:
    """What nothing provides is refused by name; a helper module is not a kind."""
    with pytest.raises(InvalidRequest, match="no endpoint type"):
        kinds.factory(kind)


def test_third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package provides a kind through an entry point."""
    entry = importlib.metadata.EntryPoint(
        "pager", "eventpost.destinations.webhook:new_destination", kinds.ENTRY_POINT_GROUP
    )
    monkeypatch.setattr(kinds, "entry_points", lambda **_: [entry])

    assert kinds.factory("pager") is webhook.new_destination


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind whose library is not installed names what to install."""

    def without_library(_name: str) -> object:
        raise ModuleNotFoundError("No module named 'webhooklib'", name="webhooklib")

    monkeypatch.setattr(importlib, "import_module", without_library)

    with pytest.raises(InvalidRequest, match=r"webhooklib.*eventpost\[webhook\]"):
        kinds.factory("webhook")
