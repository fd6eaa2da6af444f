"""The store: how full it is, whether it is intact, and a copy of it."""

from pathlib import PurePath

from eventpost.core.errors import InvalidRequest
from eventpost.registry.models import BackedUp, BackupRequest, UsageView, Verified
from eventpost.server.routes import Call, Subject

subject = Subject("store")


@subject.get("/store/usage")
async def show_usage(call: Call[None, None]) -> UsageView:
    """Show how much the store holds."""
    usage = await call.app.usage()
    return UsageView(
        bytes_used=usage.bytes_used,
        event_count=usage.event_count,
        segment_count=usage.segment_count,
        ladder_count=usage.ladder_count,
        dead_letter_count=usage.dead_letter_count,
    )


@subject.post("/store/verify")
async def verify_store(call: Call[None, None]) -> Verified:
    """Check every segment's checksum and the books, while serving."""
    damage = await call.app.verify()
    return Verified(is_intact=not damage, damage=damage)


@subject.post("/store/backup")
async def backup_store(call: Call[None, BackupRequest]) -> BackedUp:
    """Write a consistent copy to a file on the server's machine, while serving."""
    path = call.body.path
    if not PurePath(path).is_absolute():
        raise InvalidRequest(
            "InvalidField",
            f"path is {path!r}, which is relative.",
            why="The file is written by the server, whose directory may be another.",
            fix="Give an absolute path on the server's machine.",
        )
    return BackedUp(path=path, bytes=await call.app.backup(path))
