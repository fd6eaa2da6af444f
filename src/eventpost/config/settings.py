"""Every setting of the server, grouped by section, as frozen values.

The name of a setting is `section.name`: in `eventpost.yaml` a section and a key, in the environment
`EVENTPOST_SECTION_NAME`. The docstring below a field is its one-line description, read by
`eventpost config` and by the documentation's test. Units stand last in a name: `_s` seconds,
`_ms` milliseconds, `_bytes` (also `bytes_max`) bytes. Values that are checked against each other or
beyond their type are checked in `config.checks`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from eventpost.core.bounds import Limits
from eventpost.core.log_bounds import (
    KEYS_MAX,
    LINE_CHARS_MAX,
    SAID_MAX,
    WAITING_MAX,
    WINDOW_S,
)
from eventpost.credentials.bearer_settings import TOKEN_LIMITS
from eventpost.grid.limits import GridLimits
from eventpost.http.client_limits import ClientLimits
from eventpost.http.server.limits import HttpLimits
from eventpost.queues.leases import LeaseLimits
from eventpost.sources.limits import SourceLimits

ADDRESS_DEFAULT = "127.0.0.1:7790"
TOPIC_RESOURCE_PREFIX = (
    "/subscriptions/local/resourceGroups/local/providers/Microsoft.EventGrid/topics/"
)
Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]

STORE_BYTES_DEFAULT_MAX = 20 * 1000**3
"""What `store.bytes_max: 0` comes to at most, however large the disk is."""


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data: str = "./eventpost-data"
    """Directory that holds the store, the admin token and the development authority."""
    listen: str = ADDRESS_DEFAULT
    """HOST:PORT to listen on; port 0 takes a free one."""
    public_url: str = ""
    """URL under which others reach this server; empty: the listener's own."""
    admin_token: str = ""
    """Reference (`env:NAME`, `file:PATH`) to the admin token; empty: `<data>/admin-token`."""
    tls_cert: str = ""
    """PEM file with the certificate chain; together with `tls_key` it turns TLS on."""
    tls_key: str = ""
    """PEM file with the private key of `tls_cert`."""
    tls_look_s: Annotated[float, Meta(ge=0)] = 10.0
    """How often it is looked whether these files are new ones; 0: only at SIGHUP."""
    tls_dev: bool = False
    """Serve TLS with a certificate of a development authority kept in the data directory."""
    topic_resource_prefix: str = TOPIC_RESOURCE_PREFIX
    """What stands before a topic's name in `topic`, and in `source` of converted CloudEvents."""


class NetworkSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    allow_private: tuple[str, ...] = ()
    """Networks (CIDR) of private, link-local or loopback addresses that webhooks may reach."""
    allow_http: bool = False
    """Whether webhooks may use plain http beyond loopback."""
    proxies: str = "environment"
    """`environment` (HTTPS_PROXY, HTTP_PROXY, NO_PROXY), `none`, or one proxy's URL for all."""
    ca_file: str = ""
    """PEM file with authorities that webhooks' certificates may come from, besides the system's."""


class TokensSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    issuers: tuple[str, ...] = ()
    """Whose bearer tokens are accepted: `URL`, or `URL KEYS` (a JWKS by its URL or `file:PATH`)."""
    audience: tuple[str, ...] = ()
    """What a token must be for (its `aud`): one of these."""
    roles: tuple[str, ...] = ()
    """`WHO ACTION TOPIC...`: a role, `CLAIM=VALUE` or `*`; then `publish`, `receive` or `*`."""
    leeway_s: float = TOKEN_LIMITS.leeway_s
    """By how much the clocks of both sides may differ."""
    token_chars_max: Positive = TOKEN_LIMITS.token_chars_max
    """Characters of one token."""
    known_max: Positive = TOKEN_LIMITS.known_max
    """Tokens that were verified and are known again; beyond it the memory starts anew."""
    keys_renew_s: float = TOKEN_LIMITS.keys_renew_s
    """How old the keys of an issuer may become while they serve."""
    keys_retry_s: float = TOKEN_LIMITS.keys_retry_s
    """Between two fetches of one issuer's keys, whoever names a key that is not among them."""
    keys_answer_s_max: Annotated[float, Meta(gt=0)] = TOKEN_LIMITS.keys_answer_s_max
    """Time for each answer of an issuer."""
    keys_bytes_max: Positive = TOKEN_LIMITS.keys_bytes_max
    """Bytes of an issuer's document."""


class StoreSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str = "sqlite:"
    """Which store: `sqlite:` keeps it in the data directory."""
    bytes_max: Natural = 0
    """Size at which publishing answers 503; 0: half of the disk free at start, at most 20 GB."""
    retention_s: Positive = 86_400
    """How long an event is kept at least, whether or not a subscription still needs it."""


class MetricsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    public: bool = False
    """Whether `/metrics` needs no token when the server listens beyond loopback."""
    subscriptions_max: Natural = 1_000
    """How many subscriptions get label values of their own; the rest is summed as `_other`."""
    sources_max: Natural = 1_000
    """The same for sources."""


class LogsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severity that is written."""
    format: Literal["auto", "text", "json"] = "auto"
    """`text` for people, `json` for programs; `auto`: text on a terminal, else json."""
    line_chars_max: Positive = LINE_CHARS_MAX
    """Characters of one line; what is longer is cut."""
    waiting_max: Positive = WAITING_MAX
    """Lines that wait for a slow output; above it they are dropped and counted."""
    said_max: Positive = SAID_MAX
    """Records of one event name and subscription in one window; the rest is counted."""
    window_s: Annotated[float, Meta(gt=0)] = WINDOW_S
    """Length of that window."""
    keys_max: Positive = KEYS_MAX
    """Windows kept at once; further subscriptions share one per event name."""


class PullSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    events_max: Positive = 100
    """The largest `maxEvents` of a receive."""
    wait_s_max: Natural = 120
    """The largest `maxWaitTime` of a receive."""
    lock_tokens_max: Positive = 1_000
    """Lock tokens of one acknowledge, release, reject or renewLock."""


class AlertSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    interval_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    """How often it is looked for what is wrong; 0: never, and no alerts."""
    repeat_s: Annotated[float, Meta(ge=1)] = 3_600.0
    """How often an alert that was told of, and holds still, is told again."""
    ladder_min: Annotated[int, Meta(ge=1)] = 10
    """Deliveries that wait for a retry below which a ladder that grows is no alert."""
    unsettled_s: Annotated[float, Meta(gt=0)] = 300.0
    """Age of the oldest message that was taken and is still in its queue, from where on it is."""
    credentials_s: Annotated[float, Meta(ge=0)] = 900.0
    """Credentials that nobody renews and that end sooner are an alert."""
    certificate_s: Annotated[float, Meta(ge=0)] = 1_209_600.0
    """A certificate of the listener that ends sooner is one, too."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them. One object is made at start and handed down."""

    server: ServerSettings = ServerSettings()
    network: NetworkSettings = NetworkSettings()
    tokens: TokensSettings = TokensSettings()
    store: StoreSettings = StoreSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogsSettings = LogsSettings()
    pull: PullSettings = PullSettings()
    alerts: AlertSettings = AlertSettings()
    limits: Limits = Limits()
    grid: GridLimits = GridLimits()
    http: HttpLimits = HttpLimits()
    client: ClientLimits = ClientLimits()
    sources: SourceLimits = SourceLimits()
    leases: LeaseLimits = LeaseLimits()

    def grid_limits(self, *, disk_free_bytes: int) -> GridLimits:
        """The engine's bounds, those that follow from the store's settings filled in."""
        return structs.replace(
            self.grid,
            retention_ms=self.store.retention_s * 1_000,
            store_bytes_max=self.store.bytes_max
            or min(disk_free_bytes // 2, STORE_BYTES_DEFAULT_MAX),
        )
