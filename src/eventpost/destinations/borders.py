"""What stops at a destination's border as an outcome: no exception crosses it.

Layer: destinations.
"""

from eventpost.core.errors import InvalidRequest
from eventpost.core.outcomes import Evidence, Failed, Fault, Stage
from eventpost.http.failures import bounded


def unusable(error: InvalidRequest) -> Failed:
    """Why settings or a place cannot be used: nothing was tried, and no attempt counts."""
    missing = error.code in ("SecretMissing", "ConnectionNotFound")
    fault = Fault.NOT_FOUND if missing else Fault.MALFORMED
    evidence = Evidence(stage=Stage.SETTINGS, fault=fault, detail=bounded(str(error)))
    return Failed(evidence, is_counted=False)


def unexpected(error: Exception, stage: Stage) -> Failed:
    """What nobody foresaw, recorded as a finding; the attempt counts."""
    detail = bounded(f"{type(error).__name__}: {error}")
    return Failed(Evidence(stage=stage, fault=Fault.UNEXPECTED, detail=detail))
