# One command for each thing a developer does. Every target sets the environment up first.
# Needed beforehand: Python 3.11 or newer, make, and the package registries.

UV := scripts/uv
RUN := $(UV) run --no-sync
ARGS ?=
ROUNDS ?= 30
OUTCOMES := $(CURDIR)/.tools/outcomes.txt
# Most of what slow tests and crash tests take is waiting, also for programs of their own.
WORKERS ?= 2
WORKERS_SLOW ?= 3
WORKERS_CRASH ?= 3
# The distribution's own Python, when it will do, measures: like those of the official container
# images it is built with profile-guided optimisation, and one built on the spot mostly is not.
BENCH_PYTHON ?= $(shell /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo /usr/bin/python3)
MEASURE := $(if $(BENCH_PYTHON),UV_PROJECT_ENVIRONMENT=.venv-bench UV_PYTHON=$(BENCH_PYTHON)) $(UV)

.DEFAULT_GOAL := help
.PHONY: diagnose-report help setup packages services demo test test-quick test-slow test-crash test-conformance check format docs bench crash worker-faults worker-bench clean

help:
	@echo "make demo              the tour, in a terminal (ARGS=--once ends by itself)"
	@echo "make test              everything: checks, quick tests, slow tests, crash tests"
	@echo "make test-quick        the tests that take less than half a second each"
	@echo "make services          install the services that tests run against"
	@echo "make check             format, lint, types, import layers, docs"
	@echo "make format            put the code into its format"
	@echo "make docs              write the generated pages of docs/ anew"
	@echo "make bench             the benchmark: figures, and ratios to the floor of the same run"
	@echo "make diagnose-report   run what brings findings about, and tell how each was brought about"
	@echo "make crash ROUNDS=n    kill the real program n times under load (ROUNDS=$(ROUNDS))"
	@echo "make worker-faults     what workers' brokers do on each fault, ours beside stock ones"
	@echo "make worker-bench      how fast workers' brokers are, ours beside stock ones"
	@echo "make clean             remove what the targets above made"

setup:
	@$(UV) sync --locked --quiet --all-extras

packages:
	@scripts/system-packages

services: packages
	@scripts/test-services

# What the program itself needs, and no more: the tour begins within the first minute.
demo:
	@$(UV) sync --locked --quiet --inexact --no-default-groups
	@$(RUN) eventpost demo $(ARGS)

# All parts run, also after one failed: a broken format must not hide a broken promise.
test: services
	@failed=""; rm -f $(OUTCOMES); export EVENTPOST_OUTCOMES=$(OUTCOMES); \
	for part in check test-quick test-slow test-crash test-conformance; do \
	    $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; \
	if [ -n "$$failed" ]; then echo "== failed:$$failed"; exit 1; fi; \
	echo "== all tests passed"

test-quick: setup services
	@echo "== quick tests"
	@$(RUN) scripts/run-tests "not slow and not crash" -n $(WORKERS) $(ARGS)

test-slow: setup services
	@echo "== slow tests"
	@$(RUN) scripts/run-tests "slow and not crash" -n $(WORKERS_SLOW) $(ARGS)

test-crash: setup services
	@echo "== crash tests"
	@$(RUN) scripts/run-tests "crash" -n $(WORKERS_CRASH) $(ARGS)

# Each row of the page on conformance rests on a test that has just run and passed.
test-conformance:
	@echo "== conformance"
	@$(RUN) scripts/write-conformance --ran $(OUTCOMES)

check: setup
	@$(RUN) scripts/check

format: setup
	@$(RUN) ruff format
	@$(RUN) ruff check --fix

docs: setup
	@$(RUN) scripts/write-reference
	@$(RUN) scripts/write-inventories
	@$(RUN) scripts/write-conformance

bench:
	@$(MEASURE) sync --locked --quiet --all-extras
	@$(MEASURE) run --no-sync python -m bench $(ARGS)

worker-faults: setup services
	@$(RUN) python -m bench.worker_faults $(ARGS)

worker-bench: setup services
	@$(RUN) python -m bench.worker_speed $(ARGS)

crash: setup
	@EVENTPOST_CRASH_ROUNDS=$(ROUNDS) $(RUN) scripts/run-tests "crash" -s $(ARGS)

diagnose-report: setup services
	@$(RUN) python scripts/diagnose-report $(ARGS)

clean:
	rm -rf .venv .venv-bench .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .crash dist
