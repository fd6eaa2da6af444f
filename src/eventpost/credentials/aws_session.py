"""A botocore session by our settings, and what may be read of its credentials without a refresh.

Layer: credentials. botocore is imported on first use; its absence names the extra.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

from eventpost.core.errors import InvalidRequest, extra_missing
from eventpost.credentials.aws_settings import AwsConnection, Keys
from eventpost.credentials.reports import shortened

UNKNOWN_REGION = "EP4524"
REGIONS_REMEMBERED_MAX = 64


class Frozen(NamedTuple):
    """Keys that belong together, as botocore's signers read them."""

    access_key: str
    secret_key: str
    token: str | None
    account_id: str | None = None

    def __repr__(self) -> str:
        return f"Frozen(access_key={shortened(self.access_key)!r})"


class _GivenKeys:
    """Keys that the user gave, in the place of a chain: read anew for each signature, so that a
    rotated file is seen. Speaks like botocore's `Credentials` and their resolver."""

    method = "explicit"
    account_id = None

    def __init__(self, read: Callable[[], Keys]) -> None:
        self._read = read
        self.keys = read()

    def load_credentials(self) -> "_GivenKeys":
        return self

    def get_frozen_credentials(self) -> Frozen:
        # A file that is being replaced: the keys in hand are good until the service says no.
        with suppress(InvalidRequest):
            self.keys = self._read()
        return Frozen(
            self.keys.access_key_id, self.keys.secret_access_key, self.keys.session_token or None
        )

    @property
    def access_key(self) -> str:
        return self.keys.access_key_id

    def get_deferred_property(self, property_name: str) -> Callable[[], object]:
        return lambda: getattr(self, property_name, None)


_loaders: dict[str, Any] = {}
"""By where they look beside botocore's own folder. Each reads the models of a service once, which
takes 10 MB and more processor time than all the rest of a session: sessions share them."""


def new_session(settings: AwsConnection, keys: Keys | None) -> Any:
    """A session that finds credentials as the SDK does, or uses the complete keys of the user."""
    try:
        import botocore.session
    except ModuleNotFoundError as error:
        raise extra_missing("A connection of kind aws", "botocore", "aws") from error
    session = botocore.session.Session(profile=settings.profile or None)
    if settings.region:
        session.set_config_variable("region", settings.region)
    if keys is not None:
        session.register_component("credential_provider", _GivenKeys(lambda: keys))
    elif settings.has_keys:
        session.register_component("credential_provider", _GivenKeys(settings.keys))
    session.register_component("data_loader", _loader(session))
    return session


def _loader(session: Any) -> Any:
    from botocore.loaders import create_loader

    path = session.get_config_variable("data_path") or ""
    found = _loaders.get(path)
    return found or _loaders.setdefault(path, create_loader(path or None))


def key_id(credentials: Any) -> str:
    """Without a refresh: the public property of refreshable credentials would begin one."""
    if hasattr(credentials, "refresh_needed"):
        return getattr(credentials, "_access_key", None) or ""
    return credentials.access_key or ""


def expires_ms(credentials: Any) -> int | None:
    """botocore says it in private only; where a version says nothing, nobody knows."""
    expiry = getattr(credentials, "_expiry_time", None)
    return round(expiry.timestamp() * 1_000) if isinstance(expiry, datetime) else None


def region_of(session: Any) -> tuple[str, str]:
    """The region that the SDK finds by itself, and where it found it."""
    region = session.get_config_variable("region") or ""
    if not region:
        return "", ""
    variable = str(session.session_var_map["region"][1])
    if os.environ.get(variable) == region:
        return region, variable
    return region, f"profile {session.profile or 'default'}"


def region_in_words(region: str) -> str:
    """`region eu-west-1`, with the nearest ones when the SDK has not heard of it. A region that is
    younger than the SDK is no mistake."""
    hint = unknown_region(region)
    return f"region {region}, {hint}" if hint else f"region {region}"


@lru_cache(REGIONS_REMEMBERED_MAX)
def unknown_region(region: str) -> str:
    """`which this SDK does not know (near it: ...)`; "" for one that it knows."""
    known = new_session(AwsConnection(), None).get_available_regions("sts")
    if region in known:
        return ""
    near = get_close_matches(region, known, n=2)
    hint = f" (near it: {' and '.join(near)})" if near else ""
    return f"which this SDK does not know{hint}"


def check_region(region: str, session: Any = None) -> None:
    """Raises InvalidRequest for a region that is none, with the nearest ones: a token signed for it
    would be refused without a reason, and no host has its name. `session` is one to look in."""
    session = session or new_session(AwsConnection(), None)  # first: it says which extra is missing

    from botocore.exceptions import UnknownRegionError

    try:
        session.get_partition_for_region(region)
    except UnknownRegionError as error:
        near = get_close_matches(region, session.get_available_regions("sts"), n=2)
        raise InvalidRequest(
            UNKNOWN_REGION,
            f"There is no AWS region {region[:64]!r}.",
            why=f"The nearest ones are {' and '.join(near)}." if near else "",
            fix="Write the region as it stands in the broker's or the queue's host name.",
        ) from error
