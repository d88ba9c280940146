//! Whether a peer is right, before it is fast.

use anyhow::ensure;
use load_tests::{
    Alpn,
    world::{self, HOST, Key, World, now},
};
use serde_json::{Value, json};

use crate::peers::{Peer, Running};

/// Good tokens of either algorithm pass; what is wrong in any way does not; nothing forged and no credential arrives.
pub(crate) async fn check(world: &World, kind: Peer, peer: &Running) -> anyhow::Result<()> {
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let status = async |token: &str| -> anyhow::Result<u16> {
            let mut connection = peer.edge.connect(HOST, alpn, [127, 0, 0, 1].into()).await?;
            let bearer = format!("Bearer {token}");
            let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &bearer)] };
            Ok(connection.get("/orders", headers).await?.status.as_u16())
        };
        for key in [&world.es256, &world.rs256] {
            let good = key.token(7, |_| ())?;
            let found = status(&good).await?;
            ensure!(found == 200, "{}: a good {:?} token is answered {found}", peer.title, key.algorithm);
            if !kind.checks() {
                continue;
            }
            for (what, token) in bad(key, &good)? {
                let found = status(&token).await?;
                let refused = found == 401 || found == 403;
                ensure!(refused, "{}: {what} over {alpn:?} is answered {found}", peer.title);
            }
        }
        // The floor has one upstream only, which does not say what arrived.
        if kind != Peer::Floor {
            arrives(world, kind, peer, alpn).await?;
        }
    }
    Ok(())
}

fn bad(key: &Key, good: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Ok(vec![
        ("no token", String::new()),
        ("a wrong signature", format!("{signed}.{first}{}", &signature[1..])),
        ("no signature", format!("{signed}.")),
        ("an expired token", key.token(7, |claims| claims["exp"] = json!(now() - 3600))?),
        ("another issuer", key.token(7, |claims| claims["iss"] = json!("https://evil.example.test"))?),
        ("another audience", key.token(7, |claims| claims["aud"] = json!("others"))?),
    ])
}

/// What reaches the upstream.
async fn arrives(world: &World, kind: Peer, peer: &Running, alpn: Alpn) -> anyhow::Result<()> {
    let bearer = format!("Bearer {}", world.es256.token(7, |_| ())?);
    let mut connection = peer.edge.connect(HOST, alpn, [127, 0, 0, 1].into()).await?;
    let headers = [("authorization", bearer.as_str()), ("x-md-global-user-id", "forged"), ("x-user", "forged")];
    let answer = connection.get("/echo", &headers).await?;
    let seen: Value = serde_json::from_slice(&answer.body)?;
    ensure!(seen["credentials"] == false, "{}: the token reaches the upstream", peer.title);
    if kind.is_gateway() {
        ensure!(seen["tenant"] == json!([world::TENANT]), "the tenant: {seen}");
        let user = seen["user"].as_array().map_or(0, Vec::len);
        ensure!(user == 1 && seen["user"] != json!(["forged"]), "the user: {seen}");
    }
    Ok(())
}
