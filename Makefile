# What a newcomer and CI both call. Needs Python 3.11 or newer; everything else is installed here.
#
#   make up      start Ironfree with its own PostgreSQL, on the local Docker engine or simulated hosts
#   make test    every test        make check   format, lint, types, import contracts
#   make bench   the benchmarks    make docs    docs/pods.md and metrics.md from the code
#   make clean   remove what this file installed

SHELL := /bin/sh
PYTHON ?= python3
EXAMPLE ?= hello
WORKERS ?= 2

# A uv that answers, or our own under .tools.
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/uv/bin/uv)
BIN := .venv/bin
export UV_PROJECT_ENVIRONMENT := .venv
MANIFESTS := uv.lock pyproject.toml $(wildcard plugins/*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help up test check docs tools bench bench-c1m bench-crowd bench-hosts bench-network bench-openb bench-packing bench-queue bench-reach bench-roadef bench-rules bench-shapes bench-vectorpack clean

help:
	@sed -n '3,6s/^# *//p' Makefile

up: .venv/.runtime
	@exec $(BIN)/ironfree up --example $(EXAMPLE) $(ARGS)

test: .venv/.complete
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(ARGS)

check: .venv/.complete
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

docs: .venv/.runtime
	@$(BIN)/python -m docs.generate_pods
	@$(BIN)/python -m docs.generate_metrics

# The static programs that travel with the Docker driver; needs gcc and gcc-aarch64-linux-gnu.
TOOLS := plugins/docker/ironfree_docker/tools
TOOLS_FLAGS := -Os -nostdlib -static -ffreestanding -fno-stack-protector -fno-pic -no-pie \
	-fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns -fno-strict-aliasing \
	-Wall -Wextra \
	-Wl,--build-id=none,-s,-z,noseparate-code,-z,norelro,-z,noexecstack

tools:
	gcc $(TOOLS_FLAGS) -o $(TOOLS)/tools-amd64 $(TOOLS)/*.c
	aarch64-linux-gnu-gcc $(TOOLS_FLAGS) -mno-outline-atomics -o $(TOOLS)/tools-arm64 $(TOOLS)/*.c

bench: bench-reach bench-shapes bench-c1m bench-openb bench-rules bench-queue bench-crowd bench-packing bench-vectorpack bench-roadef bench-hosts bench-network

bench-c1m bench-crowd bench-hosts bench-network bench-openb bench-packing bench-queue bench-reach bench-roadef bench-rules bench-shapes bench-vectorpack: bench-%: .venv/.runtime
	@$(BIN)/python -m bench.$* $(ARGS)

clean:
	rm -rf .venv .tools

# --inexact: `make up` after `make test` leaves the development tools where they are.
.venv/.runtime: $(MANIFESTS) | $(UV)
	@echo "Installing Ironfree into .venv"
	@$(UV) sync --frozen --quiet --no-dev --inexact
	@touch $@

.venv/.complete: $(MANIFESTS) | $(UV)
	@echo "Installing Ironfree and its development tools into .venv"
	@$(UV) sync --frozen --quiet
	@touch .venv/.runtime $@

# Debian's Python may lack venv; pip alone can put uv into a directory.
.tools/uv/bin/uv:
	@echo "Installing uv into .tools"
	@mkdir -p .tools
	@$(PYTHON) -m venv .tools/uv >/dev/null 2>&1 \
		&& .tools/uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1' \
		|| { rm -rf .tools/uv; $(PYTHON) -m pip install --quiet --disable-pip-version-check \
			--target .tools/uv 'uv>=0.9,<1'; }
