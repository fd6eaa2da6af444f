"""Real services on loopback for tests: how they are started, shared, broken and stopped."""
