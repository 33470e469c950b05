# Built programs are kept in a cache of the user, so that a fresh clone does not rebuild kube.
CACHE := $(or $(PHASEGATE_CACHE),$(HOME)/.cache/phasegate)
export PHASEGATE_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
CLUSTER := $(CACHE)/cluster

# A missing tool ends the run with a message that says where to get it.
need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2)"; exit 1; }

.PHONY: help demo demo-mongodb test browser proof mutants ferretdb fuzz bench compare e2e-kind kind-image check docs rustdoc book deny advisories sbom run cluster cluster-down generate tools mongo go-tools temporal

help: ## Show what there is to make
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

demo: tools ## Show gateways that start and gateways that fail, on a local control plane
	cargo build --locked --bin phasegate
	cargo run --locked --quiet --example demo

demo-mongodb: tools mongo ## Show documents of MongoDB that become gateways, and gateways that become documents
	cargo build --locked --bin phasegate
	cargo run --locked --quiet --example demo-mongodb

test: tools mongo go-tools ## Run all tests that need no root
	cargo test --locked --workspace --lib --bins --examples
	cargo test --locked --workspace --doc
	cargo test --locked --workspace --test it -- --test-threads=4

proof: tools mongo ## Long runs, and a table of them: random decisions, ten million states, every crash, every fault, floods, fuzzing: PROOF="crashes faults"
	tests/proof.sh

ferretdb: tools mongo ## The registry's tests on FerretDB, an independent server with MongoDB's wire protocol
	tests/ferretdb/run cargo test --locked --workspace --test it -- registry:: --test-threads=4

# The code has no unsafe block, so that a sanitizer finds nothing more than Rust's own checks. Without a sanitizer, a
# stable toolchain suffices. New inputs are written to fuzz/corpus, failures to fuzz/artifacts. Useful inputs are kept
# in fuzz/seeds.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz: tools ## Fuzz what reads others' bytes, each target for a minute: FUZZ_SECONDS=600 FUZZ_TARGETS="status children"
	$(call need,cargo-fuzz,cargo install --locked cargo-fuzz)
	@set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) \
			-max_len=65536 -timeout=10 -rss_limit_mb=2048 -dict=fuzz/words.dict -print_final_stats=1; \
	done

# The tests' own power. cargo-mutants reads .cargo/mutants.toml, and exits with 2 if a mutant survives.
MUTANTS ?= planted core

mutants: tools mongo ## Plant mistakes in a copy of the code, and show which test finds each: MUTANTS=planted PLANTED=lease-unchecked, or MUTANTS=core for cargo-mutants
	$(if $(filter planted,$(MUTANTS)),tests/mutants.sh $(PLANTED))
	$(if $(filter core,$(MUTANTS)),$(call need,cargo-mutants,cargo install --locked cargo-mutants))
	$(if $(filter core,$(MUTANTS)),cargo mutants $(MUTANTS_ARGS))

# Apart from `make test`: the SDK alone takes minutes to build, and the server as long. Nothing of it is in the
# operator's lock file.
temporal: tools ## The same job as a durable workflow on a real Temporal server, with its tests (strategies/temporal)
	tests/temporal/build >/dev/null
	cargo test --locked --manifest-path strategies/temporal/Cargo.toml --test it -- --test-threads=2

# Apart from `make test`: it needs a browser. Pictures of the documentation: PHASEGATE_PICTURES=1.
browser: tools ## The plugin's dashboard in Chromium: every page, action and update, and axe-core (needs chromium, chromedriver and npm)
	$(call need,chromium,apt-get install chromium)
	$(call need,chromedriver,apt-get install chromium-driver)
	tests/browser/axe >/dev/null
	cargo build --locked --bin phasegate --bin kubectl-phasegate
	cargo test --locked --manifest-path tests/browser/Cargo.toml --test suite -- --test-threads=2

bench: tools $(if $(filter mongodb,$(REGISTRY)),mongo) ## A burst beside a raw client and the ancestor's loop: N=300 RUNS=3 ANCESTOR=1; or REGISTRY=mongodb
	cargo bench --locked --profile dist --bench burst --no-default-features --features operator

compare: tools mongo ## The job by other designs under the same faults: COMPARE_BURST=300 COMPARE_OUTAGE=60 COMPARE_ONLY=crash
	cargo build --locked --release --workspace --bin phasegate --example compare
	$(CARGO_TARGET_DIR)/release/examples/compare

e2e-kind: ## The operator from an image on real nodes, and integration tests, on a kind cluster (as root on Debian it brings its own docker and kind)
	tests/e2e-kind.sh

kind-image: ## The node image of e2e-kind, built without a container registry: 15 minutes once
	tests/kind/image.sh

check: ## Formatting, lints and the code's documentation
	cargo fmt --all --check
	cargo fmt --check --manifest-path strategies/temporal/Cargo.toml
	cargo fmt --check --manifest-path tests/browser/Cargo.toml
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --workspace --test kind -- -D warnings
	cargo check --locked --lib --bin phasegate --no-default-features --features operator
	cargo check --locked --lib --bin kubectl-phasegate --no-default-features --features plugin
	cd tests/cluster && go vet .
	cd tests/health && go vet .
	cd tests/kind/gateway && GOWORK=off go vet .
	$(MAKE) rustdoc

# `make test` checks links and generated pages (tests/it/docs) without mdbook.
MDBOOK := 0.5.4

docs: rustdoc book ## The code's documentation, and the book

rustdoc: ## The code's documentation, without a warning
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --lib --bin kubectl-phasegate

book: ## The book: target/book/index.html
	@command -v mdbook >/dev/null || cargo install --locked mdbook@$(MDBOOK) --no-default-features --features search
	mdbook build docs

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

generate: tools ## Write what follows from the code: crds/, the chart's copies and table, the README's diagram, the book's reference, the plugin's printed texts, recorded objects
	PHASEGATE_GENERATE=1 cargo test --locked --bin kubectl-phasegate -- status::tests
	PHASEGATE_GENERATE=1 cargo test --locked --workspace --test it -- crds_are_those_of_the_types diagram:: docs::generated \
		monitoring::every_metric planted:: plugin:: gitops::objects_of_a_cluster
	PHASEGATE_GENERATE=1 cargo test --locked --workspace --test it -- chart::generated chart::values::the_charts_readme

$(CLUSTER): tools $(wildcard tests/cluster/*.go tests/cluster/*.yaml)
	@mkdir -p $(CACHE) && cd tests/cluster && CGO_ENABLED=0 go build -o $@.new . && mv $@.new $@

mongo: ## Fetch the tests' MongoDB wire server
	@tests/mongo/fetch >/dev/null

go-tools: tools ## Build what the tests check alerts, the chart and the workflows with: promtool, helm, actionlint
	@set -e; for tool in promtool helm actionlint; do tests/$$tool/build >/dev/null; done

tools:
	$(call need,cargo,curl https://sh.rustup.rs -sSf | sh (Rust 1.89 or newer))
	$(call need,go,https://go.dev/dl (Go 1.26 or newer))
