# Built programs are kept in a cache of the user, so that a fresh clone need not build kube again.
CACHE := $(or $(PHASEGATE_CACHE),$(HOME)/.cache/phasegate)
export PHASEGATE_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
CLUSTER := $(CACHE)/cluster

# A missing tool ends the run with the way to it.
need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)"; exit 1; }

.PHONY: help demo demo-mongodb test proof fuzz bench e2e-kind kind-image check deny advisories sbom run cluster cluster-down generate tools mongo promtool

help: ## Show what there is to make
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: tools ## Show gateways that start and gateways that fail, on a local control plane
	cargo build --locked --bin phasegate
	cargo run --locked --quiet --example demo

demo-mongodb: tools mongo ## Show documents of MongoDB that become gateways, and gateways that become documents
	cargo build --locked --bin phasegate
	cargo run --locked --quiet --example demo-mongodb

test: tools mongo promtool ## Run all tests that need no root
	cargo test --locked --workspace --lib --bins --examples
	cargo test --locked --test it -- --test-threads=6

proof: tools mongo ## Long runs: random decisions and sequences, kills in a burst of 300, a flood of 5,000, a tenant's bytes, a database that dies, the last release, fuzzing
	PROPTEST_CASES=100000 cargo test --locked -p phasegate-core --lib -- properties
	PHASEGATE_SEEDS=20 cargo test --locked --test it -- random::
	PHASEGATE_KILLS=10 PHASEGATE_BURST=300 cargo test --locked --test it -- resilience::an_operator_killed
	PHASEGATE_HUGE=260 PHASEGATE_ENVIRONMENTS=5000 cargo test --locked --test it -- bounds::
	PHASEGATE_WAITERS=800 cargo test --locked --test it -- amplification::of_many
	PHASEGATE_FLOOD=5000 cargo test --locked --test it -- fairness::a_flood
	PHASEGATE_BURST=300 PHASEGATE_OUTAGE=30 cargo test --locked --test it -- registry::outages::a_database_killed
	PHASEGATE_BURST=300 cargo test --locked --test it -- registry::documents::many
	PHASEGATE_RACES=200 cargo test --locked --test it -- registry::intent::a_stop_written
	PHASEGATE_QUIET=60 cargo test --locked --test it -- registry::mirrors::a_fleet
	PHASEGATE_STAMPED=180 cargo test --locked --test it -- stamping::
	older=$$(tests/last-release/build) && PHASEGATE_OLDER=$$older cargo test --locked --test it -- versions::an_upgrade
	$(MAKE) fuzz

# Nothing here is unsafe, so there is nothing for a sanitizer to find that a check of Rust's does not; without one a stable
# toolchain does. What is found new goes to fuzz/corpus, a failure to fuzz/artifacts; what is worth it is kept in fuzz/seeds.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz: tools ## Fuzz what reads others' bytes, each target for a minute: FUZZ_SECONDS=600 FUZZ_TARGETS="status children"
	$(call need,cargo-fuzz,cargo install --locked cargo-fuzz)
	@set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) \
			-max_len=65536 -timeout=10 -rss_limit_mb=2048 -dict=fuzz/words.dict -print_final_stats=1; \
	done

bench: tools $(if $(filter mongodb,$(REGISTRY)),mongo) ## A burst beside a raw client and the ancestor's loop: N=300 RUNS=3 ANCESTOR=1; or REGISTRY=mongodb
	cargo bench --locked --profile dist --bench burst --no-default-features --features operator

e2e-kind: ## The operator from an image on real nodes, and integration tests, on a kind cluster (as root on Debian it brings its own docker and kind)
	tests/e2e-kind.sh

kind-image: ## The node image of e2e-kind, built without a container registry: 15 minutes once
	tests/kind/image.sh

check: ## Formatting and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --test kind -- -D warnings
	cargo check --locked --lib --bin phasegate --no-default-features --features operator
	cargo check --locked --lib --bin kubectl-phasegate --no-default-features --features plugin
	cd tests/cluster && go vet .
	cd tests/health && go vet .
	cd tests/kind/gateway && GOWORK=off go vet .

deny: ## Licences, banned crates and sources of the dependencies
	$(call need,cargo-deny,cargo install --locked cargo-deny --no-default-features)
	cargo deny --locked check bans licenses sources

advisories: ## Known vulnerabilities of the dependencies (asks the advisory database)
	$(call need,cargo-deny,cargo install --locked cargo-deny --no-default-features)
	cargo deny --locked check advisories

sbom: ## A CycloneDX bill of materials of the operator: phasegate.cdx.json
	$(call need,cargo-cyclonedx,cargo install --locked cargo-cyclonedx)
	cargo cyclonedx --no-default-features --features operator --format json --spec-version 1.5 --target x86_64-unknown-linux-musl

run: ## Run the operator in the foreground against the current cluster
	cargo run --locked --bin phasegate -- run

cluster: $(CLUSTER) ## Start a local control plane in the background
	@cd tests/cluster && $(CLUSTER) up

cluster-down: $(CLUSTER) ## End the local control plane
	@cd tests/cluster && $(CLUSTER) down

generate: tools ## Write anew what follows from the code: crds/, the README's diagram, the plugin's printed texts, recorded objects
	PHASEGATE_GENERATE=1 cargo test --locked --test it -- crds_are_those_of_the_types readmes_diagram_is_that_of_the_edges \
		plugin:: gitops::objects_of_a_cluster

$(CLUSTER): tools $(wildcard tests/cluster/*.go tests/cluster/*.yaml)
	@mkdir -p $(CACHE) && cd tests/cluster && CGO_ENABLED=0 go build -o $@.new . && mv $@.new $@

mongo: ## Fetch the tests' MongoDB wire server
	@tests/mongo/fetch >/dev/null

promtool: tools ## Build promtool, which the tests check the alerts with
	@tests/promtool/build >/dev/null

tools:
	$(call need,cargo,curl https://sh.rustup.rs -sSf | sh (Rust 1.89 or newer))
	$(call need,go,https://go.dev/dl (Go 1.26 or newer))
