"""Queue systems and kinds of connections are found by name; what is declared is checked."""

import importlib
from collections.abc import Mapping

import msgspec
import pytest

from eventpost.core.errors import InvalidRequest
from eventpost.queues import kinds
from eventpost.queues.interfaces import Address, Message, Queue
from eventpost.queues.kinds import Services

pytestmark = pytest.mark.usefixtures("pigeon")


def connection(settings: Mapping[str, object]) -> msgspec.Struct:
    return kinds.read_settings(settings, kinds.connection_class("pigeon"))


def opened(name: str, **options: object) -> Queue:
    return kinds.open_queue(
        "pigeon", connection({}), Address(name=name, options=options), Services()
    )


def test_a_package_adds_a_queue_system() -> None:
    """An installed package provides a queue system and its connections through entry points."""
    queue = opened("grey")

    queue.send([Message(body=b"coo")])
    received = queue.receive(4, 0.0, 30.0)

    assert isinstance(received, list)
    assert [each.body for each in received] == [b"coo"]
    assert "pigeon" in kinds.connection_kinds()


def test_a_connection_is_optional() -> None:
    """Without a connection the kind's defaults hold."""
    queue = kinds.open_queue("pigeon", None, Address(name="white"), Services())

    assert queue.traits.system == "pigeon"


@pytest.mark.parametrize("kind", ["hawk", "", "kinds", "interfaces", "../sqs", "os.path", "SQS"])
def test_unknown_system(kind: str) -> None:
    """What nothing provides is refused by name; a helper module is no system."""
    with pytest.raises(InvalidRequest, match="no queue system") as refusal:
        kinds.queue_system(kind)

    assert "pigeon" in refusal.value.fix


def test_unknown_kind_of_connection() -> None:
    """A kind that is nearly right is told."""
    with pytest.raises(InvalidRequest, match="no kind of connection 'pigeons'") as refusal:
        kinds.connection_class("pigeons")

    assert refusal.value.why == "The nearest one is pigeon."


def test_a_connection_of_another_kind() -> None:
    """A queue refuses a connection that is not its system's."""

    class Other(msgspec.Struct):
        pass

    with pytest.raises(InvalidRequest, match="needs a connection of the kind pigeon"):
        kinds.open_queue("pigeon", Other(), Address(name="grey"), Services())


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"lofft": "x"}, "settings.lofft is not a known field"),
        ({"height_m": "high"}, "settings.height_m: expected `int`, got `str`"),
        ({"height_m": 101}, "settings: pigeons do not fly higher"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], what: str) -> None:
    """A setting that is unknown, of another type or out of bounds is named."""
    with pytest.raises(InvalidRequest, match=what):
        connection(settings)


def test_the_nearest_setting_is_told() -> None:
    """A misspelt setting is told how it is written."""
    with pytest.raises(InvalidRequest) as refusal:
        connection({"lofft": "x"})

    assert refusal.value.why == "The nearest one is loft."


@pytest.mark.parametrize("secret", ["hunter2", "env:", "file:", "environment:X", "x env:Y"])
def test_a_secret_is_a_reference(secret: str) -> None:
    """A secret that is written out is refused, and not repeated."""
    with pytest.raises(InvalidRequest, match=r"settings\.whistle: it is not as") as refusal:
        connection({"whistle": secret})

    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("reference", ["", "env:WHISTLE", "file:/run/secrets/whistle"])
def test_references_are_taken(reference: str) -> None:
    """A reference, or none, is as it should be."""
    assert msgspec.to_builtins(connection({"whistle": reference}))["whistle"] == reference


def test_options_are_checked() -> None:
    """An option that the system does not know is refused before anything is opened."""
    with pytest.raises(InvalidRequest, match=r"options\.brede is not a known field"):
        opened("grey", brede="racing")


def test_the_address_is_the_systems_to_check() -> None:
    """What the system cannot have as an address, it refuses."""
    with pytest.raises(InvalidRequest, match="A pigeon has a name"):
        opened("")


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose library is not installed names what to install, when it is declared."""
    module = importlib.import_module("eventpost_pigeon")
    monkeypatch.setattr(module, "LIBRARY", "birdlib.homing")
    monkeypatch.setattr(module, "EXTRA", "birds")

    with pytest.raises(InvalidRequest, match=r"birdlib.homing.*eventpost\[birds\]"):
        kinds.queue_system("pigeon")


def test_a_library_missing_at_import_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the module itself cannot be imported without its library."""

    def without_library(_name: str) -> object:
        raise ModuleNotFoundError("No module named 'birdlib'", name="birdlib")

    monkeypatch.setitem(kinds.CONNECTION_CLASSES, "storks", "eventpost.queues.kinds:Services")
    monkeypatch.setitem(kinds.EXTRAS, "storks", "birds")
    monkeypatch.setattr(importlib, "import_module", without_library)

    with pytest.raises(InvalidRequest, match=r"storks needs.*birdlib.*eventpost\[birds\]"):
        kinds.connection_class("storks")
