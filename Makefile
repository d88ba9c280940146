# What people type. Each recipe is one line; what it does is in scripts/, which say what they need and why.
#
#   make dev      build, run the standalone with demo data, print what to paste      ARGS="--free-ports"
#   make test     every test, on private PostgreSQL and Redis                        ARGS="-p gate"
#   make check    what CI runs: test, format, clippy, docs, generated files unchanged
#   make revocation-report   how long a revoked credential is accepted, healthy and under faults   RUNS=20 PROFILE=dev
#   make soak     20 minutes of good and bad traffic, changes and failures; every answer is judged   MINUTES=5
#   make noisy-neighbour     what one tenant at a hundred times its share does to another
#   make k6     k6's scenarios: storms, fifty tenants, a noisy one, sign-outs; every answer is judged   SCENARIOS=storm DURATION=1m
#   make tenants-load  100,000 tenants through `portcullis apply`: how long it takes, and how quick all is with them   TENANTS=5000
#   make foreign-load        wrk, h2load and slowhttptest against the real binary
#   make foreign-clients     gRPC and WebSocket clients that nobody here wrote, through the real binary
#   make fuzz-api   every operation of the control API, asked with good and bad input (schemathesis)   SEED=1 EXAMPLES=30 DATABASE=postgres
#   make control-api-costs   processor time of sign-in, refresh, permission look-up, checks of tokens and keys over PostgreSQL   EACH=5 CLIENTS=8 ONLY=refresh
#   make ladder   what the edge costs beside bare Pingora, nginx, HAProxy, Envoy and Caddy, step by step, and what clients wait for   PARTS=steps RUNS=3
#   make pgo      a gateway that is optimised by what it does under load: two builds of a release
#   make bench    what a decision, the mirror and a permission check cost

.PHONY: dev test check bless load k6 revocation-report soak tenants-load noisy-neighbour foreign-load foreign-clients fuzz-api control-api-costs ladder pgo bench audit fmt docs clean

dev:
	@scripts/dev.sh $(ARGS)

test:
	@scripts/test.sh $(ARGS)

check:
	@scripts/check.sh

bless:
	@scripts/bless.sh

load:
	@scripts/load.sh

revocation-report:
	@scripts/revocation-report.sh $(ARGS)

soak:
	@scripts/soak.sh $(ARGS)

noisy-neighbour:
	@scripts/noisy-neighbour.sh $(ARGS)

tenants-load:
	@scripts/tenants-load.sh $(ARGS)

k6:
	@scripts/k6.sh

foreign-load:
	@scripts/foreign-load.sh

foreign-clients:
	@scripts/foreign-clients.sh

fuzz-api:
	@scripts/fuzz-api.sh $(ARGS)

control-api-costs:
	@scripts/control-api-costs.sh

ladder:
	@scripts/ladder.sh $(ARGS)

pgo:
	@scripts/pgo.sh

bench:
	@cargo bench -p authz -p authn -p gate $(ARGS)

audit:
	@scripts/audit.sh

fmt:
	@cargo fmt --all

docs:
	@cargo doc --no-deps --workspace

clean:
	@cargo clean
