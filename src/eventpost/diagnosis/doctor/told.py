"""What the doctor found as plain values: the same JSON from the command and from a function."""

from collections.abc import Sequence

import msgspec

from eventpost.diagnosis.doctor.ladder import Examination, Rung


def told(examinations: Sequence[Examination]) -> dict[str, object]:
    """`healthy`, and each thing that was examined with its rungs."""
    return {
        "healthy": all(each.is_healthy for each in examinations),
        "examined": [_examined(each) for each in examinations],
    }


def _examined(examination: Examination) -> dict[str, object]:
    broken = examination.broken
    found = None if broken is None else broken.explanation
    return {
        "kind": examination.kind,
        "name": examination.name,
        "healthy": examination.is_healthy,
        "finding": None if found is None else found.code,
        "proven": list(examination.proven),
        "rungs": [_rung(each) for each in examination.rungs],
    }


def _rung(each: Rung) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": each.name,
        "state": each.state.value,
        "detail": each.detail,
        "elapsedMs": each.elapsed_ms,
    }
    if each.explanation is not None:
        found = each.explanation
        shown |= {"finding": found.code, "title": found.title, "cause": found.cause}
        shown |= {"check": found.check, "fix": found.fix}
    if each.evidence is not None:
        shown["evidence"] = msgspec.to_builtins(each.evidence)
    return shown
