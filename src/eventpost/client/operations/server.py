"""The store and the server itself."""

from eventpost.client.calls import UNBOUNDED, Call, call, reading
from eventpost.registry import models
from eventpost.registry.models import SettingView


def show_usage() -> Call[models.UsageView]:
    """How much the store holds."""
    return call("GET", "/store/usage", reading(models.UsageView))


def verify_store() -> Call[models.Verified]:
    """Check every segment's checksum and the books, while serving."""
    read = reading(models.Verified)
    return call("POST", "/store/verify", read, answer_s_max=UNBOUNDED)


def backup_store(path: str) -> Call[models.BackedUp]:
    """Write a consistent copy to an absolute path on the server's machine."""
    read, body = reading(models.BackedUp), models.BackupRequest(path=path)
    return call("POST", "/store/backup", read, body=body, answer_s_max=UNBOUNDED)


def show_status() -> Call[models.StatusView]:
    """Version, address, age and health of the server."""
    return call("GET", "/status", reading(models.StatusView))


def show_health() -> Call[models.HealthView]:
    """Every worker inside and what is wrong with it, if anything."""
    return call("GET", "/health", reading(models.HealthView))


def show_report() -> Call[models.Report]:
    """The books of every topic and subscription."""
    return call("GET", "/report", reading(models.Report))


def show_config() -> Call[list[SettingView]]:
    """Every setting that holds, secrets masked."""
    return call("GET", "/config", lambda body: reading(models.SettingList)(body).value)
