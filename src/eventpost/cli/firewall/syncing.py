"""Keeping the rules equal to the addresses: read, plan, write, read again.

Layer: cli. Two machines may write at the same time, and each writes the whole list: whoever comes
second erases what the first one added. So each reads again after a pause, and writes once more when
its own rules are gone; what it read of others it never leaves out.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from eventpost.cli.firewall.arm import Account
from eventpost.cli.firewall.rules import Plan, plan
from eventpost.config.local import write_private
from eventpost.core.errors import EventpostError

WRITES_MAX = 5
SETTLE_S = 5.0
PROPAGATION_S = 60
"""Rules take effect within about a minute; Microsoft promises no time."""


class Rules(Protocol):
    """Where the rules are."""

    def read(self) -> Account: ...

    def write(self, account: Account, rules: tuple[str, ...]) -> None: ...


class Ours:
    """The rules of one account that were made here, in a file of this user."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[str, ...]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ()
        rules = found.get("rules") if isinstance(found, dict) else None
        return tuple(str(each) for each in rules) if isinstance(rules, list) else ()

    def write(self, rules: Iterable[str]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, json.dumps({"rules": sorted(rules)}))


def state_file(account: str) -> Path:
    """Where it is kept which rules are ours, unless said otherwise."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "eventpost" / f"firewall-{account}.json"


def sync(
    rules: Rules,
    ours: Ours,
    egress: Sequence[str],
    *,
    settle_s: float = SETTLE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Plan:
    """Make it so, and return what was done. Raises EventpostError when others keep undoing it."""
    done = Plan()
    for write_count in range(WRITES_MAX + 1):
        account = rules.read()
        wanted = plan(account.rules, egress, ours.read())
        if wanted.is_empty:
            _remember(ours, account.rules, wanted)
            return done
        if write_count == WRITES_MAX:
            break
        # Marked before it is made: what is made and not marked would stay for ever.
        ours.write({*ours.read(), *wanted.add})
        rules.write(account, wanted.wanted)
        done = Plan(
            add=tuple(dict.fromkeys((*done.add, *wanted.add))),
            remove=tuple(dict.fromkeys((*done.remove, *wanted.remove))),
            keep=wanted.keep,
        )
        sleep(settle_s)
    raise EventpostError(
        "RulesKeepChanging",
        f"After {WRITES_MAX} writes the rules are still not as they should be.",
        why="Somebody else writes them at the same time.",
        fix="Look in the account's activity log for who does, and let one of you do it.",
    )


def _remember(ours: Ours, present: Sequence[str], done: Plan) -> None:
    """Of ours those that are there still."""
    before = ours.read()
    left = [each for each in before if each in present]
    if left != list(before):
        ours.write(left)
    assert done.is_empty
