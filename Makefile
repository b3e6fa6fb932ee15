# make demo | make test | make check | make soak | make month | make bench | make fuzz | make evidence | make screens | make deb | make boots : each sets up all it needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test soak month check lint lock bench fuzz evidence screens deb boots clean

setup: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml scripts/system-packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gate needs Python 3.11 or later as '$(PYTHON)'; set PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup
	$(BIN)/gate demo

test: setup
	@scripts/system-packages
	$(BIN)/python -m pytest -n auto -m "not slow and not soak and not boots"

soak: setup
	@scripts/system-packages
	$(BIN)/python -m pytest -m soak --timeout 2400 -n 2 --dist loadfile -rfEP --durations=10 tests/soak tests/bench --deselect tests/soak/test_long_run.py

month: setup
	GATE_BAD_LINE_S=3600 $(BIN)/python -m pytest -m soak --timeout 0 -n 2 -rP tests/soak/test_long_run.py tests/soak/test_agent_on_a_bad_line.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	@scripts/system-packages
	$(BIN)/python -m pytest -n auto

bench: setup
	@scripts/system-packages
	$(BIN)/python -m tests.bench

fuzz: setup
	$(BIN)/python -m tests.fuzz

evidence: setup
	$(BIN)/python -m tests.evidence

screens: setup
	@scripts/system-packages
	find docs/screens -name '*.png' ! -name 'boots-*' -delete
	GATE_SCREENS=docs/screens $(BIN)/python -m pytest -q -n 0 tests/browser/test_screens.py -k drawn

deb: setup
	@scripts/deb

boots: setup
	@scripts/system-packages boots
	GATE_REQUIRE_REAL=1 $(BIN)/python -m pytest -m boots --timeout 2400 -n 0 -rP --durations=10 tests/boots

lock: setup
	scripts/lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
