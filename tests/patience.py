"""What tests wait for, and what they do not wait out.

No test asserts that something took less than so long: on a machine that is busy it takes longer.
That a call ends by its own bound, or as soon as something happens, shows without a clock: let
whatever else would end it take `NEVER_S`.
"""

TEST_S_MAX = 240.0
"""What a test may take, as pyproject.toml has it: a test that takes longer fails."""
NEVER_S = 600.0
"""Longer than that. A call that may last so long, and returned, was ended early."""
