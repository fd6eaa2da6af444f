"""Which value of a setting holds, where it came from, and what is refused."""

import pytest

from eventpost.config import descriptions, effective, file
from eventpost.config.effective import Effective
from eventpost.config.inventory import SHORT_VARIABLES, sections, settings
from eventpost.config.settings import STORE_BYTES_DEFAULT_MAX, Settings
from eventpost.core.errors import InvalidRequest


def settle(
    *,
    text: str = "",
    environment: dict[str, str] | None = None,
    flags: dict[str, tuple[object, str]] | None = None,
) -> Effective:
    return effective.settle(
        flags=flags or {},
        environment=environment or {},
        file=file.parse(text, name="eventpost.yaml") if text else None,
    )


def refused(*, text: str = "", environment: dict[str, str] | None = None) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        settle(text=text, environment=environment)
    return caught.value


def test_nothing_given_means_the_defaults() -> None:
    """Without flag, variable and file every setting has its default and says so."""
    settled = settle()

    assert settled.settings == Settings()
    assert set(settled.origins.values()) == {"default"}
    assert set(settled.origins) == set(settings())


def test_flags_win_over_the_environment_and_the_environment_over_the_file() -> None:
    """Precedence is flag, environment, file, default, and the origin of each value is known."""
    settled = settle(
        text="server:\n  listen: 127.0.0.1:1\n  data: from-file\n  public_url: http://file\n",
        environment={"EVENTPOST_SERVER_LISTEN": "127.0.0.1:2", "EVENTPOST_SERVER_DATA": "from-env"},
        flags={"server.listen": ("127.0.0.1:3", "flag --listen")},
    )

    assert settled.settings.server.listen == "127.0.0.1:3"
    assert settled.settings.server.data == "from-env"
    assert settled.settings.server.public_url == "http://file"
    assert settled.origins["server.listen"] == "flag --listen"
    assert settled.origins["server.data"] == "environment EVENTPOST_SERVER_DATA"
    assert settled.origins["server.public_url"] == "eventpost.yaml:4"
    assert settled.origins["server.tls_dev"] == "default"


@pytest.mark.parametrize("name", sorted(settings()))
def test_every_setting_can_be_given_by_a_variable(name: str) -> None:
    """Each setting's default, written into its variable, is read back as that default."""
    setting = settings()[name]
    text = setting.default
    if isinstance(text, tuple):
        text = ",".join(text)
    variable = str(text).lower() if isinstance(text, bool) else str(text or "")

    settled = settle(environment={setting.variable: variable})

    assert settled.value(setting) == setting.default


def test_every_setting_has_a_description() -> None:
    """Each setting says in one line what it is for."""
    missing = [name for name, setting in settings().items() if not setting.description]

    assert missing == []


def test_every_line_given_apart_belongs_to_a_setting() -> None:
    """No description is left behind by a setting that is gone."""
    assert set(descriptions.BY_NAME) <= set(settings())


def test_every_number_with_a_dimension_has_its_unit_in_its_name() -> None:
    """A setting that is a number says what it counts: a unit, or a plural noun, or that it is a
    part or a factor."""
    for setting in settings().values():
        words = setting.key.split("_")
        if isinstance(setting.default, float):
            assert {"s", "ms", "trim", "growth"} & set(words), setting.name


def test_short_variables_name_settings() -> None:
    """Each short variable sets what it stands for, and the long one wins over it."""
    for variable, name in SHORT_VARIABLES.items():
        setting = settings()[name]
        text = {"network.allow_private": "10.0.0.0/8", "network.allow_http": "true"}.get(
            name, "127.0.0.1:9" if name == "server.listen" else "http://short"
        )
        settled = settle(environment={variable: text})
        assert settled.origins[name] == f"environment {variable}"
        assert settled.value(setting) != setting.default

    both = settle(environment={"EVENTPOST_DATA": "short", "EVENTPOST_SERVER_DATA": "long"})
    assert both.settings.server.data == "long"


def test_the_token_variable_is_kept_as_a_reference() -> None:
    """EVENTPOST_TOKEN sets the admin token without its value entering the settings."""
    settled = settle(environment={"EVENTPOST_TOKEN": "hush-hush"})

    assert settled.settings.server.admin_token == "env:EVENTPOST_TOKEN"
    assert "hush-hush" not in repr(settled)


def test_an_empty_variable_is_as_good_as_none() -> None:
    """A variable that is set to nothing does not override anything."""
    assert settle(environment={"EVENTPOST_SERVER_DATA": ""}).settings == Settings()


def test_quantities_may_have_units() -> None:
    """Durations and sizes are read with their units, from the file and from variables alike."""
    settled = settle(
        text="store: {bytes_max: 5GB}\ngrid: {outcome_delay_s: 50ms}\n",
        environment={"EVENTPOST_STORE_RETENTION_S": "36h"},
    )

    assert settled.settings.store.bytes_max == 5_000_000_000
    assert settled.settings.grid.outcome_delay_s == 0.05
    assert settled.settings.store.retention_s == 36 * 3_600


def test_a_limit_may_be_a_duration() -> None:
    """The longest time to live is a duration with its unit; nothing else is taken for one."""
    settled = settle(text="limits: {event_ttl_max: 7d}\n")

    assert settled.settings.limits.event_ttl_max == "7d"
    for wrong in ("7 days", "1440", "-1h", "0.5ms"):
        with pytest.raises(InvalidRequest, match=r"limits\.event_ttl_max"):
            settle(text=f'limits: {{event_ttl_max: "{wrong}"}}\n')


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("servr: {}\n", ["eventpost.yaml:1", "`servr` is unknown", "`server`"]),
        ("server:\n  lsten: x\n", ["eventpost.yaml:2", "`server.lsten` is unknown", "`listen`"]),
        ("server: [1]\n", ["eventpost.yaml:1", "server must be a mapping", "a list"]),
        ("server:\n  tls_dev: yes\n", ["server.tls_dev", "eventpost.yaml:2"]),
        ("server:\n  listen: 7790\n", ["server.listen", "eventpost.yaml:2"]),
        ("store:\n  retention_s: 0\n", ["store.retention_s", "eventpost.yaml:2"]),
        ("store:\n  retention_s: 10 ells\n", ["store.retention_s", "eventpost.yaml:2"]),
        ("store:\n  retention_s: 1500ms\n", ["store.retention_s", "whole"]),
        ("store:\n  url: postgresql://x\n", ["store.url", "not available in this version"]),
        ("grid:\n  lane_events_max: -1\n", ["grid.lane_events_max", "negative"]),
        ("grid:\n  retention_ms: 5\n", ["`grid.retention_ms` is unknown"]),
        ("\n\nconections:\n  a: {}\n", ["eventpost.yaml:3", "`connections`"]),
        ("logs:\n  level: loud\n", ["logs.level", "eventpost.yaml:2"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(text: str, parts: list[str]) -> None:
    """What the file says wrongly is refused with place, name and what would do."""
    error = refused(text=text)

    shown = f"{error.what} {error.why}"
    assert [part for part in parts if part not in shown] == []
    assert error.fix


@pytest.mark.parametrize(
    ("environment", "parts"),
    [
        ({"EVENTPOST_SERVER_LISTN": "x"}, ["EVENTPOST_SERVER_LISTN", "EVENTPOST_SERVER_LISTEN"]),
        ({"EVENTPOST_SERVER_LISTEN": "localhost"}, ["server.listen", "EVENTPOST_SERVER_LISTEN"]),
        ({"EVENTPOST_SERVER_LISTEN": "::1:7790"}, ["needs brackets"]),
        ({"EVENTPOST_SERVER_LISTEN": "a:65536"}, ["65535"]),
        ({"EVENTPOST_SERVER_TLS_DEV": "maybe"}, ["server.tls_dev", "neither true nor false"]),
        ({"EVENTPOST_SERVER_TLS_CERT": "c.pem"}, ["server.tls_key", "missing"]),
        ({"EVENTPOST_SERVER_PUBLIC_URL": "events.example"}, ["server.public_url"]),
        ({"EVENTPOST_SERVER_ADMIN_TOKEN": "s3cret"}, ["not a reference"]),
        ({"EVENTPOST_ALLOW_PRIVATE": "10.0.0.0/8,10.1.2.3/8"}, ["network.allow_private"]),
        ({"EVENTPOST_NETWORK_PROXIES": "socks5://x"}, ["network.proxies"]),
        ({"EVENTPOST_STORE_BYTES_MAX": "lots"}, ["store.bytes_max", "EVENTPOST_STORE_BYTES_MAX"]),
        ({"EVENTPOST_STORE_BYTES_MAX": "nan"}, ["store.bytes_max"]),
        ({"EVENTPOST_STORE_BYTES_MAX": "-1"}, ["store.bytes_max"]),
    ],
)
def test_a_mistake_in_the_environment_is_named_with_its_variable(
    environment: dict[str, str], parts: list[str]
) -> None:
    """What a variable says wrongly is refused, naming the variable but no secret."""
    error = refused(environment=environment)

    shown = f"{error.what} {error.why}"
    assert [part for part in parts if part not in shown] == []
    assert "s3cret" not in f"{shown} {error.fix}"


@pytest.mark.parametrize(
    "variable",
    [
        "EVENTPOST_SERVICE_HOST",
        "EVENTPOST_PORT_7790_TCP_ADDR",
        "EVENTPOST_STORE_SERVICE_PORT_HTTP",
        "EVENTPOST_STORE_PORT",
        "EVENTPOST_ANYTHING_ELSE",
        "EVENTPOSTER",
    ],
)
def test_variables_of_others_are_left_alone(variable: str) -> None:
    """What Kubernetes adds for a service of that name does not matter, nor do strangers."""
    assert settle(environment={variable: "tcp://10.0.0.1:7790"}).settings == Settings()


def test_the_stores_size_follows_the_disk_unless_it_is_given() -> None:
    """The default is half of the free disk, at most 20 GB; a size that is given holds as it is."""
    settings = Settings()
    assert settings.grid_limits(disk_free_bytes=1_000).store_bytes_max == 500
    most = settings.grid_limits(disk_free_bytes=10**15)
    assert most.store_bytes_max == STORE_BYTES_DEFAULT_MAX

    given = settle(environment={"EVENTPOST_STORE_BYTES_MAX": "7KB"}).settings
    assert given.grid_limits(disk_free_bytes=1_000).store_bytes_max == 7_000
    assert given.grid_limits(disk_free_bytes=1_000).retention_ms == 86_400_000


def test_the_password_of_a_proxy_is_masked() -> None:
    """Printing the settings does not tell the password in a proxy's URL."""
    proxies = "http://user:hush-hush@proxy.example:3128"
    settled = settle(environment={"EVENTPOST_NETWORK_PROXIES": proxies})

    shown = settled.shown(settings()["network.proxies"])

    assert shown == "http://user:***@proxy.example:3128"
    assert settled.settings.network.proxies == proxies


def test_all_sections_are_known() -> None:
    """Each section of the settings may stand in the file."""
    for section in sections():
        assert settle(text=f"{section}: {{}}\n").settings == Settings()


@pytest.mark.parametrize(("given", "is_taken"), [("0", True), ("300", True), ("300.5", False)])
def test_dead_letters_wait_for_company_within_bounds(given: str, is_taken: bool) -> None:
    """Dead letters wait no longer for their file than Event Grid has them wait."""
    environment = {"EVENTPOST_GRID_EXPORT_DELAY_S": given}
    if is_taken:
        assert settle(environment=environment).settings.grid.export_delay_s == float(given)
        return
    error = refused(environment=environment)
    assert error.code == "InvalidSetting"
    assert "0 to 300 seconds" in error.fix
