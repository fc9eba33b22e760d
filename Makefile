# Two commands matter: `make demo` runs the main job on real input, `make test` passes the tests. Both install what they need.
.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu test-slurm test-chaos test-api test-sim test-long bench-slurm bench-api bench-load bench-services test-fuzz test-clients test-full check build web fmt cluster-up cluster-down serve clean

BACKENDS ?= ort,huggingface,vllm

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: ## Compare real embedding servers through real Slurm (BACKENDS=ort is the light one)
	@BACKENDS="$(BACKENDS)" scripts/demo.sh

serve: ## Start the control plane on the demo's state, to look at its page
	@scripts/serve.sh

test: ## Everything that CI runs: lints, unit, integration and end-to-end tests on a real Slurm cluster
	@scripts/test.sh

test-slurm: ## All cases of Slurm on real clusters, those that take minutes too (SLURM=DIR: another Slurm, by its folder)
	EM_TEST_SLURM_PREFIX="$(SLURM)" cargo test --locked -p em-slurm --features long-tests

test-chaos: ## 210 submissions on real Slurm while sbatch breaks in every way and the controller is killed; 5,000 jobs in one budget of reads; 100 kills of the control plane
	@scripts/test-chaos.sh

test-api: ## 5,000 requests and more, right and wrong ones, made from /openapi.json by schemathesis, to a real server
	@scripts/test-api.sh

test-sim: ## 20,000 seeded histories of the control plane, and its mutants (EM_SIM_SEEDS=, EM_SIM_SEED=17 replays one)
	EM_SIM_SEEDS=$${EM_SIM_SEEDS:-20000} cargo test --locked --release -p em-controlplane --lib simulation -- --nocapture

test-long: ## Times of the load generator held to 1 % or 1 ms against scripted servers: a quiet machine, two minutes
	cargo test --locked --release -p em-load --features long-tests --test it -- --test-threads=1 known search

test-fuzz: ## 10,000 random requests and disconnects to our embedding server (EM_FUZZ_SEED=)
	@scripts/test-fuzz.sh

test-clients: ## The Python libraries openai and langchain-openai against our embedding server
	@scripts/test-clients.sh

bench-services: ## Our embedding server beside LangChain, vLLM and (TEI=PATH) TEI on this machine's cores; 25 minutes
	@scripts/bench-services.sh

bench-slurm: ## Jobs a second by sbatch and slurmrestd against plain sbatch; listing of 5,000 jobs
	cargo bench --locked -p em-slurm --bench slurm

bench-api: ## Creates a second by 64 clients, lists and memory with 100,000 experiments; two minutes
	cargo bench --locked -p em-controlplane --bench api

bench-load: ## Requests/s and MB/s of the load generator against a null server, its slip, and oha or wrk beside it where installed; two minutes
	cargo bench --locked -p em-load --bench load

test-gpu: ## The packed graphs on a GPU against plain references (EM_TEST_ORT_GPU=/path/libonnxruntime.so, a CUDA build)
	cargo test --locked --release -p em-embed --features gpu-tests --test gpu -- --test-threads=1

test-full: ## All tests that need no GPU: `make test`, then `make test-sim`, `test-slurm`, `test-chaos`, `test-api`, `test-fuzz`, `test-clients` and `test-long`
	@scripts/test.sh
	@$(MAKE) --no-print-directory test-sim test-slurm test-chaos test-api test-fuzz test-clients test-long

check: web ## Format, lints and documentation, as CI checks them
	@scripts/check.sh

build: web ## Release binaries em-controlplane, em-agent, emctl
	EM_REVISION="$$(git describe --always --dirty --abbrev=12 2>/dev/null || true)" cargo build --release --locked --workspace --bins

web: ## Build the dashboard that em-controlplane embeds
	@scripts/web.sh

fmt: ## Format all code
	cargo fmt --all

cluster-up: ## Start a private Slurm cluster in .em/cluster (NODES=, GPUS=, CPUS=, PORT=, ACCT=1, DIR=)
	@scripts/cluster.sh up

cluster-down: ## Stop it
	@scripts/cluster.sh down

clean: ## Remove builds and everything under .em (stores, clusters, demo state)
	cargo clean
	rm -rf .em results web/dist web/node_modules
