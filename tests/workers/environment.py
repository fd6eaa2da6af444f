"""How a test tells the program that `dramatiq` runs what to do."""

BROKER = "TEST_WORKERS_BROKER"
STEPS = "TEST_WORKERS_STEPS"
WORK_S = "TEST_WORKERS_WORK_S"
METRICS = "dramatiq_prom_db"
"""Dramatiq's own word for the folder of its metrics: where there is one, both kinds are counted."""
