//! What no schema can say about a configuration.

use std::{net::SocketAddr, time::Duration};

use link::{file::Checks, redis::same_instance};

use super::{Environment, GatewayConfig, Revocations};

/// No access token is meant to live longer.
const MAX_REFRESH_THRESHOLD: Duration = Duration::from_secs(86_400);

/// What `handover.grace` may be.
const HANDOVER_GRACE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7 * 86_400));

/// Collects what contradicts itself.
pub(super) fn check(config: &GatewayConfig, checks: &mut Checks<'_>) {
    feed(config, checks);
    check_fed(config, checks);
}

/// The same where the snapshot comes from the process itself.
pub(super) fn check_fed(config: &GatewayConfig, checks: &mut Checks<'_>) {
    listeners(config, checks);
    config.connections.check(checks);
    redis(config, checks);
    tokens(config, checks);
    if !(HANDOVER_GRACE.0..=HANDOVER_GRACE.1).contains(&config.handover.grace.get()) {
        checks.refuse("/handover/grace", "is not 1s to 7d");
    }
    if !(0.0..=1.0).contains(&config.explain.permits) {
        checks.refuse("/explain/permits", "is not between 0 and 1");
    }
}

fn listeners(config: &GatewayConfig, checks: &mut Checks<'_>) {
    let listen = &config.listen;
    let mut taken = vec![("listen.https", listen.https)];
    for (key, address) in [("http", listen.http), ("metrics", Some(listen.metrics))] {
        let Some(address) = address else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, it)| it.port() != 0 && *it == address) {
            checks.refuse(&format!("/listen/{key}"), format!("`{address}` is the address of `{other}` too"));
        }
        taken.push((key, address));
    }
    for (key, on) in [("https", listen.https_proxy_protocol), ("http", listen.http_proxy_protocol)] {
        if on && listen.trusted_proxies.is_empty() {
            checks.refuse(&format!("/listen/{key}_proxy_protocol"), "needs `trusted_proxies`: nobody could connect");
        }
    }
}

fn feed(config: &GatewayConfig, checks: &mut Checks<'_>) {
    match (&config.feed.control_api, &config.feed.file) {
        (None, None) => checks.refuse("/feed", "one of `control_api` and `file` is needed"),
        (Some(_), Some(_)) => checks.refuse("/feed", "only one of `control_api` and `file` is possible"),
        (None, Some(_)) => {}
        (Some(control_api), None) => {
            let encrypted = control_api.url.starts_with("https://");
            let local = control_api.url.starts_with("unix:");
            let loopback = control_api.url.strip_prefix("http://").map(str::parse::<SocketAddr>);
            if !encrypted && !local && !matches!(loopback, Some(Ok(address)) if address.ip().is_loopback()) {
                let forms = "`https://HOST:PORT`, `unix:PATH` or, on this machine, `http://127.0.0.1:PORT` is possible";
                checks.refuse("/feed/control_api/url", forms);
            }
            if !encrypted && !local && config.environment == Environment::Prod {
                checks
                    .refuse("/feed/control_api/url", "in `environment: prod` only `https://` and `unix:` are possible");
            }
            if encrypted && control_api.ca.is_none() {
                checks.refuse("/feed/control_api/ca", "is needed for `https://`");
            }
            if encrypted && config.data_dir.is_none() {
                checks.refuse("/data_dir", "is needed: this gateway's certificate is kept there");
            }
            if !encrypted && control_api.join_token.is_some() {
                checks.refuse("/feed/control_api/join_token", "is for `https://` only");
            }
            match (encrypted, config.gateway.id) {
                (true, Some(_)) => checks.refuse("/gateway/id", "is what this gateway's enrolment says; leave it out"),
                (false, None) => checks.refuse("/gateway/id", "is needed with a control API without `https://`"),
                (true, None) | (false, Some(_)) => {}
            }
            if config.revocations == Revocations::Redis {
                checks.refuse("/revocations", "the control API says where revocations come from; leave this out");
            }
        }
    }
}

fn redis(config: &GatewayConfig, checks: &mut Checks<'_>) {
    if config.revocations == Revocations::Redis && config.redis.revocation.is_none() {
        checks.refuse("/redis/revocation", "is needed with `revocations: redis`");
    }
    if config.redis.cache.is_some() && config.redis.cache_key.is_none() {
        checks.refuse("/redis/cache_key", "is needed with `redis.cache`");
    }
    let keeping = [("revocation", &config.redis.revocation), ("nonces", &config.redis.nonces)];
    for (name, url) in keeping {
        if let (Some(url), Some(cache)) = (url, &config.redis.cache)
            && config.environment != Environment::Dev
            && same_instance(url, cache)
        {
            let message = format!("is the instance of `redis.{name}`; one may evict and the other must not");
            checks.refuse("/redis/cache", message);
        }
    }
}

fn tokens(config: &GatewayConfig, checks: &mut Checks<'_>) {
    if config.tokens.refresh_threshold.get() > MAX_REFRESH_THRESHOLD {
        checks.refuse("/tokens/refresh_threshold", "is longer than 1d: every token would be close to its end");
    }
}
