# Everything a user or CI needs. `make run` and `make test` set up all they need in .venv.
# Bytecode makes every start three times faster; containers often switch it off.
unexport PYTHONDONTWRITEBYTECODE
export DAGSTER_DISABLE_TELEMETRY := 1
export DBT_SEND_ANONYMOUS_USAGE_STATS := false
export DO_NOT_TRACK := 1

# The newest interpreter that runs: a version manager's shim may exist and still refuse to start.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
REQUIREMENTS := infra/python/requirements.txt

.PHONY: help setup run serve servers test soak bench peers pictures lint types imports secrets check lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

setup: $(READY) ## Create .venv with exactly the pinned packages

$(READY): $(REQUIREMENTS) pyproject.toml infra/python/venv.sh
	@if [ -z "$(PYTHON)" ]; then echo "secure_platform needs a working Python 3.11, 3.12 or 3.13 on PATH; none was found." >&2; exit 2; fi
	@sh infra/python/venv.sh "$(PYTHON)" "$(VENV)"
	@echo "Installing the pinned packages (about a minute) …"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r $(REQUIREMENTS)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY) ## Run the main job, source to production, on embedded defaults
	@$(BIN)/secure-platform demo

serve: $(READY) ## Dagster UI and daemon on loopback
	@$(BIN)/secure-platform serve

servers: $(READY) ## Install what some tests need (apt, npm; root): Chromium, fonts, an OpenID provider, an AWS emulator, Prometheus
	@sh infra/tests/servers.sh

WORKERS ?= 4

test: $(READY) ## Run the whole test suite, in four processes (WORKERS=2)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

pictures: $(READY) ## Take the pictures in docs/images again, with Chromium
	@SECURE_PLATFORM_WRITE_PICTURES=1 $(BIN)/python -m pytest secure_platform_tests/web/test_web_browser.py \
		secure_platform_tests/web/test_web_pages_browser.py secure_platform_tests/web/test_web_scan_report_browser.py

soak: $(READY) ## Let everything die and fail everywhere: make soak MINUTES=30 SEED=7
	@$(BIN)/python secure_platform_tests/faults/soak.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

bench: $(READY) ## Benchmarks beside their peers (ONLY=secure_copy ROWS=10000000)
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows $(ROWS)) $(BENCH_ARGS)

peers: $(READY) ## Install the tools that the scans are held against, in an environment of their own
	@test -x benchmarks/peers/.venv/bin/detect-secrets || { $(BIN)/python -m venv benchmarks/peers/.venv && \
		benchmarks/peers/.venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes \
		--only-binary :all: -r benchmarks/peers/requirements.txt; }

lint: $(READY) ## Lint and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY) ## Strict type check
	@$(BIN)/mypy

imports: $(READY) ## The import contract: imports go down only
	@$(BIN)/lint-imports

secrets: $(READY) ## No secret in the repository that .secure-platform-secrets.yaml does not excuse
	@$(BIN)/python -m secure_platform scan repo .

check: lint types imports secrets test ## What CI runs, and no new secret

lock: $(READY) ## Recompile the pinned requirements (needs uv)
	@uv pip compile pyproject.toml --extra dev --extra otel --universal --python-version 3.11 --generate-hashes \
		--no-strip-extras --no-emit-index-url --no-annotate --no-header -o $(REQUIREMENTS)

clean: ## Remove the environment and caches; homes and their keys stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
