# threadcast. `make` alone lists what there is.
#
# A target installs what it needs and does not find, with apt-get on Debian and Ubuntu, and nothing else.
# Without root and without a working sudo it says which packages to install, and stops. `check` is for each change,
# and `test` is all that counts as checked. CI runs both.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO := cargo
# The program, with all features of the library.
PROGRAM := --locked --features program
ARGS :=
DURATION := 600
CLIENTS := 5000
PORT := 8888
CASES := 20000
DUPLEX := 120
# Where Debian has HAProxy and nginx, which is not on everybody's PATH.
SBIN := /usr/sbin
# Names of browsers' programs.
BROWSERS := chromium chromium-browser google-chrome
RUST := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# Minutes that `test` takes on 2 cores from an empty target/, and what `full` adds: a release build, all of Autobahn,
# and what of stress is not told how long. Fuzz, soak, the abuse and the fleet's soak take DURATION seconds each. Of the
# six tests of both directions, which take DUPLEX seconds each, two run at once.
TEST_MINUTES := 12
MORE_MINUTES := 30
FULL_MINUTES = $$(($(TEST_MINUTES) + $(MORE_MINUTES) + (4 * $(DURATION) + 3 * $(DUPLEX) + 59) / 60))

# The checks of `test`, in this order.
CHECKS := lint features pack doc suite loom autobahn
# The checks of `full`. .github/CONTRIBUTING.md says which promise each of them guards.
FULL := lint features crate doc suite loom stack packages autobahn-all stress fuzz soak
# The files of tests/it that need more than Rust and a C compiler: a browser, Python, Redis, a proxy, OpenSSL, npm. A
# test compares them with this list.
NEED_MORE := admin arguments_and_cookies examples fleet fleet_links fleet_program interop interop_client lab_page \
	page prometheus protocols proxies supervisor tls_attacks tls_config tls_page tls_program tutorial workflows
# Tests of tests/it that run at the same time, on however few cores: they wait, mostly.
IT := RUST_TEST_THREADS=8 $(CARGO) test $(PROGRAM) --workspace --test it
# The test crates that mostly wait, and run at the same time; and those that measure or load the machine.
WAIT := capacity faults fleet_faults fleet_soak fuzz log_lines neighbours stack
ALONE := $(filter-out $(WAIT),$(patsubst %.rs,%,$(notdir $(wildcard tests/*.rs tests/compare/tests/*.rs))))
BEGUN := $(shell date +%s)
# Where a check says why it was not run.
export NOT_RUN := $(CURDIR)/target/not-run

.PHONY: help
help: ## List the targets
	@$(call list,)

.PHONY: run
run: ## Serve the clock on port 8888; ARGS="--port 9000" for options
	@$(call needs,cc)
	$(CARGO) run $(PROGRAM) --release --bin threadcast -- $(ARGS)

.PHONY: check
check: ## For each change, in 3 minutes: format, clippy, and the tests that need only Rust and a C compiler
	@$(call needs,cc)
	@$(MAKE) --no-print-directory lint
	$(CARGO) test $(PROGRAM) --workspace --lib --bins
	$(IT) -- $(NEED_MORE:%=--skip %::)

.PHONY: test
test: ## Everything that is checked: format, lints, features, package, manual, tests, loom, the pages, Autobahn
	$(call checked,test,$(TEST_MINUTES),$(CHECKS))

.PHONY: full
full: ## And what takes longer: a release, all of Autobahn, stress, fuzz and soak for DURATION (600) s each
	$(call checked,full,$(FULL_MINUTES),$(FULL))

.PHONY: fmt
fmt: ## Format the source
	$(CARGO) fmt --all

.PHONY: lint
lint: ## Check the format, and clippy without a warning
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PROGRAM) --workspace --all-targets -- -D warnings

.PHONY: features
features: ## Check the library without features and with each alone, without a warning; `lint` has all of them
	cd tests/compare/rivals && $(CARGO) fmt --check && $(CARGO) update --quiet --workspace --locked
	for feature in default $$(sed -n '/^\[features\]/,/^\[\[/s/^\([a-z0-9_-]*\) = .*/\1/p' Cargo.toml | \
		grep -v -e default -e program); do \
		$(CARGO) rustc --locked --package threadcast --lib --features $$feature --profile check -- -D warnings; done

.PHONY: crate
crate: ## Make a package of the source, and build it
	{ $(CARGO) package --locked --package threadcast --allow-dirty $(VERIFY) 2>&1 >&3 | sed -u '$(LEFT_OUT)' >&2; } 3>&1

.PHONY: pack
pack: VERIFY := --no-verify
pack: crate ## Make a package of the source, without building it

# A package is without tests, on purpose. So cargo's warning of each of them is left out.
LEFT_OUT := /^warning: ignoring \(test\|benchmark\|example\) `[^`]*` as `tests\/[^`]*` is not included in the published package$$/d

.PHONY: package
package: ## Build a static program, a .deb and a container's context into target/package
	@$(call needs,cc musl)
	CARGO=$(CARGO) tests/package/build.sh

.PHONY: packages
packages: ## Build the packages, install the .deb in a bare Debian, and run the container's files; as root
	@if command -v dpkg-deb >/dev/null; then \
		$(MAKE) --no-print-directory package && tests/package/check.sh; \
	else \
		echo "make packages: NOT run: no dpkg-deb"; echo "no dpkg-deb" >"$$NOT_RUN"; \
	fi

.PHONY: doc
doc: ## Build the manual into target/doc, without a warning
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --lib --all-features

.PHONY: suite
suite: ## All tests, those of the pages in a browser
	$(CARGO) test $(PROGRAM) --workspace --no-run
	$(IT)
	@$(MAKE) --no-print-directory --jobs=$(words $(WAIT)) --output-sync --keep-going $(WAIT:%=crate-%)
	$(CARGO) test $(PROGRAM) --workspace --lib --bins $(ALONE:%=--test %)
	$(CARGO) test $(PROGRAM) --workspace --doc

crate-%:
	$(CARGO) test $(PROGRAM) --workspace --test $*

.PHONY: stack
stack: ## Check in a release build that an idle client keeps to two pages of stack
	$(CARGO) test $(PROGRAM) --release --test stack

.PHONY: loom
loom: ## Try every interleaving of the outbox, with up to three preemptions
	RUSTFLAGS="--cfg loom" $(CARGO) test --locked --package threadcast --lib --target-dir target/loom outbox::model

.PHONY: autobahn
autobahn: ## The conformance suite of WebSockets, where it can be run; ARGS=--update writes its table
	$(if $(ARGS),tests/autobahn/run.sh $(ARGS),$(call autobahn,))

.PHONY: autobahn-all
autobahn-all: ## Autobahn, with its cases of limits and of compression
	$(call autobahn,--all)

# $(call autobahn,OPTION): the server over ws and wss, and the client, at the same time: they wait for each other mostly.
define autobahn
trap 'kill $$(jobs -p) 2>/dev/null; wait' INT TERM; \
for kind in "" --tls --client; do tests/autobahn/run.sh $$kind $(1) & done; \
failed=; for run in $$(jobs -p); do wait "$$run" || failed=yes; done; [ -z "$$failed" ]
endef

.PHONY: stress
stress: ## CASES cases a property (20000), thousands of clients, and both directions for DUPLEX s (120)
	@$(call needs,cc)
	PROPTEST_CASES=$(CASES) $(CARGO) test $(PROGRAM) --release --lib
	THREADCAST_DUPLEX_SECONDS=$(DUPLEX) $(CARGO) test $(PROGRAM) --release --test tls_duplex --test client_duplex -- --nocapture
	THREADCAST_FLOOD_SECONDS=20 $(CARGO) test $(PROGRAM) --release --test floods -- --nocapture --include-ignored --test-threads 1
	THREADCAST_FLOOD_SECONDS=20 $(CARGO) test $(PROGRAM) --release --test neighbours -- --nocapture --ignored
	$(COSTS) $(CARGO) test $(PROGRAM) --release --bench compression_cost --bench fleet_cost --bench hub_memory
	THREADCAST_FOOTPRINT=$(CLIENTS) $(CARGO) test $(PROGRAM) --release --test stack -- --test-threads 1
	THREADCAST_RESTARTS=15 $(CARGO) test $(PROGRAM) --release --test it -- --nocapture --test-threads 1 restarts::

.PHONY: fuzz
fuzz: ## Fuzz the head reader and the read loop for DURATION seconds (600)
	THREADCAST_FUZZ_SECONDS=$(DURATION) $(CARGO) test $(PROGRAM) --test fuzz -- --nocapture

.PHONY: soak
soak: DURATION := 1800
soak: ## Let clients of all kinds come and go for DURATION seconds (1800), and see that nothing grows
	@$(call needs,cc redis)
	THREADCAST_SOAK_SECONDS=$(DURATION) $(CARGO) test $(PROGRAM) --release --test soak -- --nocapture come_and_go
	THREADCAST_ABUSE_SECONDS=$(DURATION) $(CARGO) test $(PROGRAM) --release --test soak -- --nocapture abuse
	THREADCAST_SOAK_SECONDS=$(DURATION) $(CARGO) test $(PROGRAM) --release --test fleet_soak -- --nocapture

.PHONY: footprint
footprint: ## Where the memory of CLIENTS idle clients (5000) is, and how deep the stacks get
	@$(call needs,cc)
	THREADCAST_FOOTPRINT=$(CLIENTS) $(CARGO) test $(PROGRAM) --release --test stack -- --nocapture --test-threads 1

COMPARE := target/release/threadcast-compare

.PHONY: compare
compare: ## Measure it beside other servers, 25 minutes, into tests/compare/results; QUICK=1 prints, in four
	@$(call needs,cc python)
	-$(MAKE) --no-print-directory -C tests/compare deps
	$(CARGO) build $(PROGRAM) --release --workspace
	$(COMPARE) run $(if $(QUICK),--quick --out target/compare,--out tests/compare/results --readme README.md --lesson src/guide/lesson.md) $(ARGS)

.PHONY: bench
bench: ## The ratios that it is held to, one line each
	@$(call needs,cc python redis strace)
	$(CARGO) build $(PROGRAM) --release --workspace
	$(COMPARE) bench $(ARGS)
	$(COMPARE) calls
	$(CARGO) test $(PROGRAM) --release --lib -- --nocapture unwatched a_publish_costs | grep -E "watches|of a broadcast"
	$(COSTS) $(CARGO) test $(PROGRAM) --release --bench compression_cost -- --nocapture | grep compression:
	$(COSTS) $(CARGO) test $(PROGRAM) --release --bench hub_memory -- --nocapture | grep "a subscription takes"
	$(COSTS) $(CARGO) test $(PROGRAM) --release --bench fleet_cost -- --nocapture | grep fleet:

# With as many clients as count; a few, unless somebody says so.
COSTS := THREADCAST_COMPRESSION=1000 THREADCAST_FLEET=1000

.PHONY: lab
lab: ## Open the lab at http://localhost:8888/lab, with event loops and Go beside it; ARGS passes options
	@$(call needs,cc python)
	for part in python rust go; do $(MAKE) --no-print-directory -C tests/compare $$part || \
		echo "tests/compare: $$part cannot be built; its column says so" >&2; done
	$(CARGO) build $(PROGRAM) --release --workspace
	$(COMPARE) lab -- $(ARGS)

.PHONY: fleet
fleet: ## Three machines behind HAProxy, Redis in the middle, at http://localhost:8888/; PORT=9000 for another
	@$(call needs,cc redis haproxy)
	$(CARGO) build $(PROGRAM) --release --bin threadcast
	PORT=$(PORT) tests/fleet.sh

.PHONY: screenshots
screenshots: ## Take the README's pictures of the pages
	@$(call packages,browser)
	THREADCAST_SCREENSHOTS=tests/screenshots $(CARGO) test $(PROGRAM) --test it page::nothing_is_wider

.PHONY: clean
clean: ## Remove what was built
	$(CARGO) clean

# $(call list,TARGETS): a line for each of them, or for all.
list = sed -n 's/^\([a-z-]*\):.*\#\# /\1\t/p' $(MAKEFILE_LIST) | \
	awk -F'\t' -v targets=' $(1) ' 'targets ~ /^ *$$/ || index(targets, " " $$1 " ") { printf "make %-12s %s\n", $$1, $$2 }'

# $(call needs,NEEDS): Rust, and these. It is looked at before cargo speaks, since an old one fails at the edition in
# Cargo.toml.
define needs
for tool in $(CARGO) rustc; do \
	found=$$(command -v $$tool >/dev/null && $$tool --version | cut -d ' ' -f 2) || found=none; \
	printf '%s\n' $(RUST) "$$found" | sort -C -V && [ "$$found" != none ] && continue; \
	echo "threadcast needs Rust $(RUST) or later; $$tool here: $$found. See https://rustup.rs" >&2; exit 1; \
done; $(packages)
endef

# $(call checked,NAME,MINUTES,TARGETS): says what it will do, runs the targets one after the other, and says what
# passed. DURATION sets the time of stress, fuzz and soak.
define checked
@echo "make $(1) takes about $(2) minutes on 2 cores, and 5 GB below target/. It runs"; $(call list,$(3))
@$(call needs,cc curl openssl browser python ip unshare redis haproxy nginx caddy apache2 prometheus systemd-analyze)
@passed= skipped= left=" $(3)"; \
end() { \
	echo; echo "make $(1): $$1 after $$((($$(date +%s) - $(BEGUN) + 59) / 60)) min. Passed:$${passed:- nothing}."; \
	[ -z "$$skipped$$left" ] || echo "make $(1): NOT run:$$skipped$$left."; \
}; \
mkdir -p target; \
for check in $(3); do \
	left=$${left# $$check}; \
	echo; echo "make $(1): $$check"; begun=$$SECONDS; \
	rm -f "$$NOT_RUN"; \
	$(MAKE) --no-print-directory $$check ARGS= DURATION=$(DURATION) || { end "FAILED in $$check"; exit 1; }; \
	echo "make $(1): $$check took $$((SECONDS - begun)) s"; \
	if [ -f "$$NOT_RUN" ]; then skipped+=" $$check ($$(cat "$$NOT_RUN"))"; else passed+=" $$check"; fi; \
done; \
end "done"
endef

# $(call packages,NEEDS): the packages of those that are not found are installed.
define packages
missing=; \
for need in $(1); do case $$need in \
	browser) \
		missing+=" chromium"; \
		for name in $${CHROME:-} $(BROWSERS); do \
			! command -v "$$name" >/dev/null || missing=$${missing% chromium}; \
		done;; \
	python) python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=" python3 python3-venv";; \
	cc) command -v cc >/dev/null || missing+=" build-essential";; \
	haproxy|nginx) PATH=$$PATH:$(SBIN) command -v "$$need" >/dev/null || missing+=" $$need";; \
	apache2) PATH=$$PATH:$(SBIN) command -v "$$need" >/dev/null || missing+=" apache2-bin";; \
	ip) command -v ip >/dev/null || missing+=" iproute2";; \
	systemd-analyze) command -v "$$need" >/dev/null || missing+=" systemd";; \
	redis) command -v redis-server >/dev/null || missing+=" redis-server";; \
	musl) command -v musl-gcc >/dev/null || missing+=" musl-tools";; \
	debootstrap) PATH=$$PATH:$(SBIN) command -v debootstrap >/dev/null || missing+=" debootstrap";; \
	unshare) command -v unshare >/dev/null || missing+=" util-linux";; \
	*) command -v "$$need" >/dev/null || missing+=" $$need";; \
esac; done; \
as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
if [ -z "$$missing" ]; then :; \
elif ! command -v apt-get >/dev/null; then \
	echo "please install what Debian calls:$$missing" >&2; exit 1; \
elif [ -n "$$as_root" ] && ! sudo true 2>/dev/null; then \
	echo "please install as root: apt-get install$$missing" >&2; exit 1; \
else \
	echo "installing$$missing"; \
	quietly="env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes"; \
	$$as_root apt-get update && $$as_root $$quietly apt-get install -y $$missing; \
fi
endef
