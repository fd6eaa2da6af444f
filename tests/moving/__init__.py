"""Moves between real queue systems: `eventpost move` as a user runs it, and what it is made of."""
