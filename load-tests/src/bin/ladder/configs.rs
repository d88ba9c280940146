//! What the peers are told: TLS, an access log to a file, the same fields dropped and set, connections kept to the upstream.

use std::{fmt::Write as _, net::SocketAddr};

use load_tests::world::{AUDIENCE, HOST, ISSUER, World};

pub(crate) fn nginx(world: &World, address: SocketAddr) -> String {
    let (fast, echo) = (world.fast, world.echo);
    let forward = |upstream: &str| {
        format!(
            "proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_set_header Authorization \"\"; proxy_set_header X-User fixed; proxy_set_header X-Tenant fixed; \
             proxy_set_header X-Roles fixed;"
        )
    };
    format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr;\nevents {{ worker_connections 8192; }}\n\
         http {{ access_log {}; keepalive_requests 100000000; keepalive_timeout 1h;\n\
         upstream fast {{ server {fast}; keepalive 1024; keepalive_requests 100000000; }}\n\
         upstream echo {{ server {echo}; keepalive 16; }}\n\
         server {{ listen {address} ssl http2; server_name {HOST}; ssl_certificate edge.crt; ssl_certificate_key edge.key;\n\
         location / {{ {} }}\nlocation /echo {{ {} }} }} }}\n",
        world.log("nginx.access.log").display(),
        forward("fast"),
        forward("echo")
    )
}

pub(crate) fn haproxy(world: &World, address: SocketAddr) -> String {
    let mut text = format!(
        "global\n  nbthread 1\n  maxconn 4096\n  log stdout format raw local0\n\
         defaults\n  mode http\n  log global\n  option httplog\n  timeout connect 5s\n  timeout client 1h\n  timeout server 60s\n\
         frontend edge\n  bind {address} ssl crt {} alpn h2,http/1.1\n\
         \x20 http-request set-var(txn.bearer) http_auth_bearer\n\
         \x20 http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')\n\
         \x20 http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')\n\
         \x20 http-request set-var(txn.now) date()\n\
         \x20 http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {ISSUER} }}\n\
         \x20 http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {AUDIENCE} }}\n\
         \x20 http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}\n",
        world.text("edge.pem")
    );
    for (alg, key) in [("ES256", "es256.pub"), ("RS256", "rs256.pub")] {
        _ = writeln!(
            text,
            "  http-request set-var(txn.good) var(txn.bearer),jwt_verify(txn.alg,\"{}\") if {{ var(txn.alg) -m str {alg} }}",
            world.text(key)
        );
    }
    let (fast, echo) = (world.fast, world.echo);
    _ = write!(
        text,
        "  http-request deny deny_status 401 unless {{ var(txn.good) -m int 1 }}\n\
         \x20 http-request set-header x-user %[var(txn.bearer),jwt_payload_query('$.sub')]\n\
         \x20 http-request set-header x-tenant %[var(txn.bearer),jwt_payload_query('$.tid')]\n\
         \x20 http-request set-header x-issuer %[var(txn.bearer),jwt_payload_query('$.iss')]\n\
         \x20 http-request del-header authorization\n\
         \x20 use_backend echo if {{ path_beg /echo }}\n  default_backend fast\n\
         backend fast\n  http-reuse always\n  server fast {fast}\nbackend echo\n  server echo {echo}\n"
    );
    text
}

pub(crate) fn envoy(world: &World, address: SocketAddr) -> String {
    let jwks = std::fs::read_to_string(world.path("jwks.json")).unwrap();
    let cluster = |name: &str, to: SocketAddr| {
        serde_json::json!({
            "name": name, "type": "STATIC", "connect_timeout": "5s",
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": {
                "socket_address": { "address": to.ip().to_string(), "port_value": to.port() } } } }] }] },
            "circuit_breakers": { "thresholds": [{ "max_connections": 10000, "max_pending_requests": 10000,
                "max_requests": 10000 }] },
        })
    };
    let http = "type.googleapis.com/envoy.extensions.filters";
    let manager = serde_json::json!({
        "@type": format!("{http}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "edge", "codec_type": "AUTO",
        "access_log": [{ "name": "envoy.access_loggers.file", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": world.log("envoy.access.log") } }],
        "http_filters": [
            { "name": "envoy.filters.http.jwt_authn", "typed_config": {
                "@type": format!("{http}.http.jwt_authn.v3.JwtAuthentication"),
                "providers": { "id": {
                    "issuer": ISSUER, "audiences": [AUDIENCE], "forward": false,
                    "local_jwks": { "inline_string": jwks },
                    "claim_to_headers": [
                        { "header_name": "x-user", "claim_name": "sub" },
                        { "header_name": "x-tenant", "claim_name": "tid" },
                        { "header_name": "x-issuer", "claim_name": "iss" },
                    ],
                    "jwt_cache_config": { "jwt_cache_size": 100_000 },
                } },
                "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "id" } }],
            } },
            { "name": "envoy.filters.http.router", "typed_config": {
                "@type": format!("{http}.http.router.v3.Router") } },
        ],
        "route_config": { "name": "edge", "virtual_hosts": [{ "name": "edge", "domains": ["*"], "routes": [
            { "match": { "prefix": "/echo" }, "route": { "cluster": "echo" } },
            { "match": { "prefix": "/" }, "route": { "cluster": "fast" } },
        ] }] },
    });
    let tls = serde_json::json!({
        "name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{ "certificate_chain": { "filename": world.text("edge.crt") },
                    "private_key": { "filename": world.text("edge.key") } }],
            },
        },
    });
    serde_json::json!({ "static_resources": {
        "listeners": [{ "name": "edge", "address": { "socket_address": {
                "address": address.ip().to_string(), "port_value": address.port() } },
            "filter_chains": [{ "transport_socket": tls, "filters": [{
                "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }] }],
        "clusters": [cluster("fast", world.fast), cluster("echo", world.echo)],
    } })
    .to_string()
}

/// `forward_auth` has another program ask for each request whether it may pass.
pub(crate) fn caddy(world: &World, address: SocketAddr, checker: SocketAddr) -> String {
    let (fast, echo, port) = (world.fast, world.echo, address.port());
    let (chain, key) = (world.text("edge.crt"), world.text("edge.key"));
    let log = world.log("caddy.access.log");
    let log = log.display();
    format!(
        "{{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tskip_install_trust\n\tgrace_period 1s\n}}\n\
         https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls {chain} {key}\n\tlog {{\n\t\toutput file {log}\n\t}}\n\troute {{\n\
         \t\tforward_auth {checker} {{\n\t\t\turi /\n\t\t\tcopy_headers x-user x-tenant x-issuer\n\t\t}}\n\
         \t\trequest_header -Authorization\n\t\treverse_proxy /echo* {echo}\n\t\treverse_proxy {fast}\n\t}}\n}}\n"
    )
}
