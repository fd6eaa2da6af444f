"""What becomes of pulled events that are not acknowledged, and the findings of that."""

FINDINGS = {
    "LockExpired": "EP3050",
    "Released": "EP3051",
    "Rejected": "EP3052",
}
