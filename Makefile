# Every target sets up what it needs first (tools/setup.py): python3, make and a network suffice.

PYTHON ?= python3
BIN := .venv/bin
SETUP := @$(PYTHON) tools/setup.py
JOBS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test test-faults check docs format bench release lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## serve the demo page (PORT=8001 to choose a port)
	$(SETUP) runtime
	@exec $(BIN)/trunkline demo $(if $(PORT),--port $(PORT))

test: ## run every test, in a real browser too (ARGS='-k poll' to choose)
	$(SETUP) dev browser proxies
	@echo "test: pytest"
	@$(BIN)/pytest -n $(JOBS) --dist loadscope $(ARGS)

test-faults: ## kill, cut, freeze and fill every engine, into docs/faults.md (ARGS='--engine redis')
	$(SETUP) dev
	@$(BIN)/python -m tests.faults $(ARGS)

check: ## format, lint, types, walls and sizes, in seconds
	$(SETUP) dev
	@echo "check: format" && $(BIN)/ruff format --check --quiet .
	@echo "check: lint" && $(BIN)/ruff check --quiet .
	@echo "check: types" && $(BIN)/mypy --no-error-summary
	@echo "check: walls" && $(BIN)/lint-imports --no-logo > .venv/walls.log || { cat .venv/walls.log; exit 1; }
	@echo "check: sizes" && $(BIN)/pytest -q --no-header tests/test_house.py
	@echo "check: all well"

docs: ## build the documents into site/; a warning fails
	$(SETUP) dev
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: ## format the sources and apply safe lint fixes
	$(SETUP) dev
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix --quiet .

bench: ## measure against peers, into bench/RESULTS.md
	$(SETUP) dev bench
	@$(BIN)/python -m bench $(ARGS)

release: ## build and try out a release (PUBLISH=1 uploads it)
	$(SETUP) dev release
	@$(BIN)/python tools/release.py $(if $(filter 1,$(PUBLISH)),--publish)

lock: ## pin the requirements anew (UPGRADE=1 for newest versions)
	$(SETUP) dev lock
	@$(BIN)/python tools/lock.py $(if $(filter 1,$(UPGRADE)),--upgrade)

clean: ## remove everything that make made
	rm -rf .venv dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf tests/browser/node_modules
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
