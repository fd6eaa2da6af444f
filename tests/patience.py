"""What tests wait for, and what they do not wait out.

No test asserts that something took less than so long: on a machine that is busy it takes longer.
That a call ends by its own bound, or as soon as something happens, shows without a clock: let
whatever else would end it take `NEVER_S`.
"""

TEST_S_MAX = 240.0
"""What a test may take, as pyproject.toml has it: a test that takes longer fails."""
PATIENCE_S = 150.0
"""How long a test waits for what is to happen: what merely takes its time on a busy machine must
not fail it, and waiting costs nothing when it passes. Shorter than a test may take, so that it says
what did not happen."""
NEVER_S = 600.0
"""Longer than that. A call that may last so long, and returned, was ended early."""
