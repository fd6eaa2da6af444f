"""Long lists: pages of the management API, and of Azure's routes with the official client."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.eventgrid import EventGridManagementClient
from azure.mgmt.eventgrid import models as m

from eventpost.client import Client
from tests.server.running import Served, problem, served
from tests.server.test_arm import GROUP, SUBSCRIPTION, AdminToken

PROVIDER = f"{GROUP}/providers/Microsoft.EventGrid"
TOPICS = [f"radio-{number}" for number in range(5)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With five of everything that is listed page by page."""
    with served(tmp_path_factory.mktemp("paging"), tls_dev=True) as found, found.admin() as admin:
        made = [admin.post("/domains", json={"name": "stations", "topics": TOPICS})]
        for number, name in enumerate(TOPICS):
            made.append(admin.post("/topics", json=cloud(f"clouds-{number}")))
            of_topic = {"name": name, "topic": "clouds-0", "endpointType": "pull"}
            made.append(admin.post("/subscriptions", json=of_topic))
            if number:
                made.append(admin.post("/domains", json={"name": f"stations-{number}"}))
        assert {each.status_code for each in made} == {201}
        yield found


@pytest.fixture
def admin(server: Served) -> Iterator[httpx.Client]:
    with server.admin() as made:
        yield made


@pytest.fixture
def arm(server: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.data / "tls/ca.pem"))
    credential = AdminToken(server.token)
    with EventGridManagementClient(credential, SUBSCRIPTION, base_url=server.url) as made:
        found: Any = made
        namespace = m.Namespace(location="local")
        found.namespaces.begin_create_or_update("radio", "station", namespace).result()
        yield found


def cloud(name: str) -> dict[str, str]:
    return {"name": name, "inputSchema": "cloudeventschemav1_0"}


# --- the management API ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [("/domains/STATIONS/topics?", "name"), ("/subscriptions?topic=clouds-0&", "name")],
)
@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (6, [5])])
def test_pages(admin: httpx.Client, path: str, name: str, limit: int, sizes: list[int]) -> None:
    """Each page holds as many as were asked for and says where the next one is, the last does
    not; together they are the whole list."""
    page = admin.get(f"{path}limit={limit}").json()
    found = [page["value"]]
    while page.get("nextLink"):
        following = httpx.URL(str(admin.base_url)).join(page["nextLink"])
        page = admin.get(following).json()
        found.append(page["value"])

    assert [len(each) for each in found] == sizes
    assert [each[name] for values in found for each in values] == TOPICS


@pytest.mark.parametrize("path", ["/domains/stations/topics", "/subscriptions"])
@pytest.mark.parametrize(("limit", "status"), [(0, 400), (1, 200), (1_000, 200), (1_001, 400)])
def test_bounds_of_a_page(admin: httpx.Client, path: str, limit: int, status: int) -> None:
    """A page holds 1 to 1,000."""
    answer = admin.get(f"{path}?limit={limit}")

    if status == 200:
        assert answer.status_code == 200
    else:
        assert "limit" in problem(answer, 400)["detail"]


def test_a_page_behind_nothing(admin: httpx.Client) -> None:
    """Where a page begins is what the page before said, and nothing else."""
    assert "nextLink" in problem(admin.get("/subscriptions?after=x"), 400)["fix"]
    assert admin.get(f"/subscriptions?after={'9' * 30}").json()["value"] == []


def test_the_client_reads_all_pages(server: Served) -> None:
    """The list of our own client is whole, however many pages it takes."""
    with Client(data=server.data) as client:
        assert [each.name for each in client.list_domain_topics("stations")] == TOPICS
        assert [each.name for each in client.list_subscriptions(topic="clouds-0")] == TOPICS


# --- the routes of Azure --------------------------------------------------------------------------


def lists(arm: Any) -> dict[str, Any]:
    """How each list is asked for, by what it holds five of."""
    return {
        "topics": lambda **given: arm.topics.list_by_resource_group("radio", **given),
        "all topics": lambda **given: arm.topics.list_by_subscription(**given),
        "domains": lambda **given: arm.domains.list_by_resource_group("radio", **given),
        "domain topics": lambda **given: arm.domain_topics.list_by_domain(
            "radio", "stations", **given
        ),
        "subscriptions": lambda **given: arm.topic_event_subscriptions.list(
            "radio", "clouds-0", **given
        ),
        "all subscriptions": lambda **given: arm.event_subscriptions.list_global_by_resource_group(
            "radio", **given
        ),
        "namespace topics": lambda **given: arm.namespace_topics.list_by_namespace(
            "radio", "station", **given
        ),
        "namespace subscriptions": lambda **given: (
            arm.namespace_topic_event_subscriptions.list_by_namespace_topic(
                "radio", "station", "clouds-0", **given
            )
        ),
    }


@pytest.mark.parametrize("what", list(lists(None)))
@pytest.mark.parametrize("top", [1, 2, 100])
def test_the_official_client_reads_all_pages(arm: Any, what: str, top: int) -> None:
    """With `top`, each page of each list holds so many, and the client goes on to the last."""
    ask = lists(arm)[what]
    whole = [each.name for each in ask()]

    pages = [[each.name for each in page] for page in ask(top=top).by_page()]

    assert {len(page) for page in pages[:-1]} <= {top}
    assert 0 < len(pages[-1]) <= top
    assert [name for page in pages for name in page] == whole
    assert len(whole) >= 5


@pytest.mark.parametrize("top", [0, 101])
def test_bounds_of_top(arm: Any, top: int) -> None:
    """`$top` is 1 to 100, as with Azure."""
    with pytest.raises(HttpResponseError, match=r"\$top is") as refused:
        list(arm.topics.list_by_resource_group("radio", top=top))

    assert refused.value.status_code == 400


def test_top_that_is_no_number(admin: httpx.Client, server: Served) -> None:
    """What cannot be read is said, by its name."""
    for query in ("$top=many", "$skiptoken=x"):
        url = f"{server.url}{PROVIDER}/topics?api-version=2025-02-15&{query}"
        answer = admin.get(url)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "InvalidField"


def test_where_the_next_page_is(admin: httpx.Client, server: Served) -> None:
    """`nextLink` is a whole URL of this server, with what was asked for."""
    url = f"{server.url}{PROVIDER}/topics?api-version=2025-02-15&$top=1"

    link = admin.get(url).json()["nextLink"]

    assert link.startswith(f"{server.url}{PROVIDER}/topics?")
    assert "api-version=2025-02-15&$top=1&$skiptoken=" in urlsplit(link).query
