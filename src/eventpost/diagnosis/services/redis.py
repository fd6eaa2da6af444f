"""What Redis refuses, in words of `destinations.dramatiq_redis`, and which finding that is."""

FINDINGS = {
    "": "EP5030",
    "LOGIN_REFUSED": "EP5031",
    "NOPERM": "EP5032",
    "OOM": "EP5033",
    "READONLY": "EP5034",
    "LOADING": "EP5035",
    "MASTERDOWN": "EP5035",
}
