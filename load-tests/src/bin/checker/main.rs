//! The program that Caddy asks for each request whether it may pass: a token's signature, issuer, audience and times are
//! checked as the other peers do, and three of its claims are answered as header fields.
#![allow(clippy::disallowed_methods, reason = "jsonwebtoken reads the real clock")]

use std::{collections::HashMap, convert::Infallible, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::Parser as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use load_tests::world::{AUDIENCE, ISSUER};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(clap::Parser)]
struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    /// The issuer's key set (RFC 7517).
    #[arg(long)]
    jwks: PathBuf,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    tid: String,
    iss: String,
}

/// Keys by their name, each with what else must hold of its tokens.
type Keys = HashMap<String, (DecodingKey, Validation)>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    load_tests::install_crypto();
    let arguments = Arguments::parse();
    let keys = Arc::new(keys(&std::fs::read_to_string(&arguments.jwks)?)?);
    let listener = TcpListener::bind(arguments.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let keys = Arc::clone(&keys);
        let answer = service_fn(move |request| {
            let keys = Arc::clone(&keys);
            async move { Ok::<_, Infallible>(answer(&keys, &request)) }
        });
        // A connection that ends in an error ends nothing else.
        tokio::spawn(async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await) });
    }
}

fn keys(text: &str) -> anyhow::Result<Keys> {
    let set: JwkSet = serde_json::from_str(text)?;
    let one = |jwk: &jsonwebtoken::jwk::Jwk| {
        let name = jwk.common.key_id.clone().context("a key without `kid`")?;
        let algorithm = jwk.common.key_algorithm.context("a key without `alg`")?;
        let mut validation = Validation::new(algorithm.to_string().parse()?);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.leeway = 0;
        Ok((name, (DecodingKey::from_jwk(jwk)?, validation)))
    };
    set.keys.iter().map(one).collect()
}

fn answer<B>(keys: &Keys, request: &Request<B>) -> Response<Empty<Bytes>> {
    let mut answer = Response::new(Empty::new());
    let found = claims(keys, request).and_then(|claims| {
        let fields = [("x-user", claims.sub), ("x-tenant", claims.tid), ("x-issuer", claims.iss)];
        for (name, value) in fields {
            answer.headers_mut().insert(name, value.parse().ok()?);
        }
        Some(())
    });
    if found.is_none() {
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
    }
    answer
}

/// What a request's token says, if it holds.
fn claims<B>(keys: &Keys, request: &Request<B>) -> Option<Claims> {
    let token = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let (key, validation) = keys.get(&jsonwebtoken::decode_header(token).ok()?.kid?)?;
    jsonwebtoken::decode(token, key, validation).ok().map(|data| data.claims)
}
