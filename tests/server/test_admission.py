"""Who may use the management API."""

from pathlib import Path

import httpx
import pytest

from eventpost.config.settings import MetricsSettings, Settings
from eventpost.server import api
from tests.server.running import Served, problem, served


@pytest.mark.parametrize("value", ["", "Bearer wrong", "Basic {}", "Bearer {}x", "{}"])
def test_nothing_without_the_token(http: httpx.Client, server: Served, value: str) -> None:
    """Every management route refuses a missing or wrong token, saying where to find it."""
    headers = {"Authorization": value.format(server.token)} if value else {}
    for operation in api.operations():
        answer = http.request(operation.method, operation.path, headers=headers)

        document = problem(answer, 401)
        assert document["code"] == "EP1020"
        assert "admin-token" in document["fix"]
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_the_scheme_in_any_case(http: httpx.Client, server: Served) -> None:
    """`bearer` is read as `Bearer`."""
    headers = {"Authorization": f"bearer {server.token}"}
    assert http.get("/admin/v1/topics", headers=headers).is_success


def test_metrics_are_open_to_this_machine_only(http: httpx.Client, server: Served) -> None:
    """A scrape from loopback is answered; through a proxy or by a stranger's name it needs the
    token."""
    assert "eventpost_matched_events_total" in http.get("/metrics").text
    assert http.get("/metrics", headers={"Host": "localhost:1"}).is_success
    for strange in ({"X-Forwarded-For": "203.0.113.9"}, {"Host": "rebound.example"}):
        problem(http.get("/metrics", headers=strange), 401)
        with_token = strange | {"Authorization": f"Bearer {server.token}"}
        assert http.get("/metrics", headers=with_token).is_success


def test_metrics_are_open_where_a_setting_says_so(tmp_path: Path) -> None:
    """With `metrics.public` a scrape from elsewhere needs no token."""
    settings = Settings(metrics=MetricsSettings(public=True))
    with served(tmp_path, settings) as server, server.http() as http:
        assert http.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}).is_success
