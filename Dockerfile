# One build, three images: docker build --target gateway|control-api|portcullis .
FROM rust:1.95-bookworm AS builder
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p gateway -p control-api -p standalone \
    && install -D -t /out target/release/gateway target/release/control-api target/release/portcullis

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/portcullis --create-home portcullis
USER 10001
WORKDIR /var/lib/portcullis

# The data plane. Configuration is mounted; it listens on what that says.
FROM runtime AS gateway
COPY --from=builder /out/gateway /usr/local/bin/gateway
ENTRYPOINT ["gateway"]
CMD ["--config", "/etc/portcullis/gateway.yaml"]

# The control plane.
FROM runtime AS control-api
COPY --from=builder /out/control-api /usr/local/bin/control-api
ENTRYPOINT ["control-api"]
CMD ["--config", "/etc/portcullis/control-api.yaml"]

# Both in one process with SQLite. Last, so that a plain `docker build .` makes it.
FROM runtime AS portcullis
COPY --from=builder /out/portcullis /usr/local/bin/portcullis
VOLUME /var/lib/portcullis
ENTRYPOINT ["portcullis"]
CMD ["serve", "--config", "/etc/portcullis/portcullis.yaml"]
