# threadcast. `make` alone lists what there is.
#
# `run` and `test` install what they need and do not find, with apt-get on Debian and Ubuntu. `test` is
# all that counts as checked, and what CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO := cargo
ARGS :=
DURATION := 600
CLIENTS := 5000
# What a browser is called.
BROWSERS := chromium chromium-browser google-chrome
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "make %-12s %s\n", $$1, $$2 }'

.PHONY: run
run: rust ## Serve the clock on port 8888; ARGS="--port 9000" for options
	$(CARGO) run --release --quiet --bin threadcast -- $(ARGS)

.PHONY: test
test: rust browser python namespaces ## Everything that is checked: format, lints, docs, tests, loom, the page, Autobahn
	$(MAKE) --no-print-directory lint doc
	$(CARGO) test --workspace
	$(MAKE) --no-print-directory loom autobahn

.PHONY: fmt
fmt: ## Format the source
	$(CARGO) fmt --all

.PHONY: lint
lint: ## Check the format, and clippy without a warning
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: doc
doc: ## Build the manual into target/doc, without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --lib

.PHONY: loom
loom: ## Try every interleaving of the outbox, with up to three preemptions
	RUSTFLAGS="--cfg loom" $(CARGO) test --package threadcast --lib --target-dir target/loom outbox::model

.PHONY: autobahn
autobahn: ## The WebSocket conformance suite, where Python 2.7 is found; ARGS=--update writes its table
	tests/autobahn/run.sh $(ARGS)

.PHONY: fuzz
fuzz: ## Fuzz the head reader and the read loop for DURATION seconds (600)
	THREADCAST_FUZZ_SECONDS=$(DURATION) $(CARGO) test --test fuzz -- --nocapture

.PHONY: soak
soak: DURATION := 1800
soak: rust ## Let clients of all kinds come and go for DURATION seconds (1800), and see that nothing grows
	THREADCAST_SOAK_SECONDS=$(DURATION) $(CARGO) test --release --test soak -- --nocapture

.PHONY: footprint
footprint: rust ## Where the memory of CLIENTS idle clients (5000) is, and how deep the stacks get
	THREADCAST_FOOTPRINT=$(CLIENTS) $(CARGO) test --release --test stack -- --nocapture --test-threads 1

COMPARE := target/release/threadcast-compare

.PHONY: compare
compare: rust python ## Measure it beside other servers, 55 minutes, into tests/compare/results; QUICK=1 prints, in three minutes
	-$(MAKE) --no-print-directory -C tests/compare deps
	$(CARGO) build --release --workspace
	$(COMPARE) run $(if $(QUICK),--quick --out target/compare,--out tests/compare/results --readme README.md) $(ARGS)

.PHONY: bench
bench: rust ## The ratios that it is held to, one line each
	$(CARGO) build --release --workspace
	$(COMPARE) bench $(ARGS)
	$(CARGO) test --release --quiet --lib unwatched -- --nocapture | grep watches

.PHONY: lab
lab: rust ## Open the lab at http://localhost:8888/lab, with event loops beside it; ARGS="--port 9000" for options
	$(CARGO) build --release --workspace --quiet
	$(COMPARE) lab -- $(ARGS)

.PHONY: screenshots
screenshots: browser ## Take the README's pictures of the pages
	THREADCAST_SCREENSHOTS=tests/screenshots $(CARGO) test --test page nothing_is_wider
	THREADCAST_SCREENSHOTS=tests/screenshots $(CARGO) test --test lab_page nothing_is_wider

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean

.PHONY: rust
rust:
	@command -v $(CARGO) >/dev/null || { echo "threadcast needs Rust 1.88 or later: https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null || $(call install,build-essential)

.PHONY: browser
browser:
	@for name in $${CHROME:-} $(BROWSERS); do command -v "$$name" >/dev/null && exit; done; $(call install,chromium)

.PHONY: python
python:
	@python3 -c 'import venv, ensurepip' 2>/dev/null || $(call install,python3 python3-venv)

.PHONY: namespaces
namespaces:
	@{ command -v ip && command -v unshare; } >/dev/null || $(call install,iproute2 util-linux)

# $(call install,PACKAGES)
install = { command -v apt-get >/dev/null || { echo "please install: $(1)" >&2; exit 1; }; \
	echo "installing $(1)"; $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq $(1) >/dev/null; }
