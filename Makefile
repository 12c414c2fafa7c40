# Every command of the course. Each target sets the environment up first (a moment when nothing changed), so that
# `make lab` and `make test` work in a fresh clone. The work is done by the `course` command and tools/.
#
#   PYTHON=...   an interpreter; one inside a venv or conda environment is used as it is, any other gets .venv
#   TORCH=...    index (default: what the package index gives), cpu or cuda (PyTorch's own index)
#   PORT=...     the port of `make lab`           ARGS=...   handed on to the command

SHELL := /bin/sh
TORCH ?= index
PORT ?= 8888
ARGS ?=
export PYTHON
COURSE = @sh tools/course.sh --torch "$(TORCH)"

.DEFAULT_GOAL := help
.PHONY: help setup lab test run build check lint doctor bench clean

help: ## list the commands
	@sed -n 's/^\([a-z][a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
	printf '  %-12s %s\n' "$$name" "$$text"; done

setup: ## make .venv with everything the course needs, and prepare the embedded models
	$(COURSE)

lab: ## set up, check this machine, open the course in JupyterLab (PORT=, ARGS=)
	$(COURSE) lab --port "$(PORT)" -- $(ARGS)

test: ## set up, then prove everything: unit tests, build, lint, every notebook in both forms
	$(COURSE) test $(ARGS)

run: ## execute notebooks: ARGS="05 09 --profile smoke"
	$(COURSE) run $(ARGS)

build: ## turn notebooks/src into notebooks: ARGS="--execute 05"
	$(COURSE) build $(ARGS)

check: ## compare committed outputs with what today's code prints
	$(COURSE) check $(ARGS)

lint: ## check the code's style and the notebooks' budgets
	$(COURSE) -m ruff check
	$(COURSE) -m ruff format --check
	$(COURSE) lint $(ARGS)

doctor: ## check that this machine is ready for the course
	$(COURSE) doctor $(ARGS)

bench: ## measure: import time, pipeline overhead, models against named alternatives
	$(COURSE) -m bench $(ARGS)

clean: ## delete built copies, reports and caches (not .venv, not downloaded data, not your progress)
	rm -rf build .cache/scratch .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
