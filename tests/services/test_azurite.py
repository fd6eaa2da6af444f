"""Azurite behaves as tests of Azure Storage need it."""

import uuid
from collections.abc import Iterator

import pytest
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueClient, QueueServiceClient

from tests.services.azurite import OTHER_KEY, Azurite, AzuriteWithTokens, token
from tests.services.running import Running
from tests.services.service import fresh_name


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[QueueClient]:
    connection = azurite.connection_string
    with QueueClient.from_connection_string(connection, fresh_name("queue")) as client:
        client.create_queue()
        yield client


@pytest.mark.slow
def test_a_message_goes_through_a_queue(queue: QueueClient) -> None:
    """What is sent to a queue is received from it, and gone once it is deleted."""
    queue.send_message("a song")
    received = queue.receive_message()

    assert received is not None
    assert received.content == "a song"
    queue.delete_message(received)
    assert queue.get_queue_properties().approximate_message_count == 0


@pytest.mark.slow
def test_a_blob_is_kept(azurite: Azurite) -> None:
    """What is uploaded is downloaded as it was."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        container = client.create_container(fresh_name("container"))
        container.upload_blob("a/song.json", b"{}")

        assert container.download_blob("a/song.json").readall() == b"{}"


@pytest.mark.slow
def test_a_wrong_key_is_refused(azurite: Azurite) -> None:
    """Keys count: a well-formed key that is not the account's opens nothing."""
    connection = azurite.connection_string_with(OTHER_KEY)
    with (
        QueueServiceClient.from_connection_string(connection) as client,
        pytest.raises(ClientAuthenticationError),
    ):
        client.create_queue(fresh_name("queue"))


@pytest.mark.slow
def test_messages_outlive_the_service(own_azurite: Running[Azurite]) -> None:
    """After a restart a queue holds what it held; after a kill, another one can be used."""
    service = own_azurite.service
    queue = QueueClient.from_connection_string(
        service.connection_string, "songs", retry_total=0, connection_timeout=2, read_timeout=2
    )
    with queue:
        queue.create_queue()
        queue.send_message("a song")
        own_azurite.restart()
        assert [message.content for message in queue.peek_messages()] == ["a song"]

        own_azurite.kill()
        with pytest.raises(ServiceRequestError):
            queue.peek_messages()

        own_azurite.start()
        queue.send_message("another song")


class Token(TokenCredential):
    def __init__(self, text: str) -> None:
        self._text = text

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken(self._text, 2**31)


@pytest.mark.slow
def test_a_token_is_looked_at(azurite_with_tokens: AzuriteWithTokens) -> None:
    """Over TLS a bearer token opens the account, unless it is for somebody else or expired."""

    def create(text: str) -> None:
        service = azurite_with_tokens
        with QueueServiceClient(
            service.queue_url, credential=Token(text), connection_verify=str(service.ca_file)
        ) as client:
            client.create_queue(fresh_name("queue"))

    create(token())
    refused = [
        token(audience="https://vault.azure.net"),
        token(issuer=f"https://else.example/{uuid.uuid4()}/"),
        token(expires_s=-60),
        token(not_before_s=600),
    ]
    for text in refused:
        with pytest.raises(ClientAuthenticationError):
            create(text)
