//! What is known of a request before anything is asked of it: through which door it came, its id, from where, for which
//! hostname.
//!
//! On `public` all of this is what the edge asserts and nothing else; `X-Forwarded-*` and `x-md-global-*` are never
//! read. On `admin` it is what the socket and the Host say; on `internal`, what the socket says.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::hmac;
use axum::extract::{ConnectInfo, FromRequestParts};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Clock, HostName, Id, ProjectId, RequestId, Secret, TenantId, audit::Origin, model::AssertionKeys};
use http::{HeaderMap, header, request::Parts};
use link::rpc::identity::Proven;
use serde::Deserialize;
use uuid::Uuid;

use crate::{App, error::AppError};

/// The header of the edge's assertion.
pub const ASSERTION_HEADER: &str = "x-md-global-assertion";

/// The audiences of assertions that `public` believes. The key is this upstream's own, so nothing that it signs is for
/// anybody else; the edge writes the upstream's name.
pub const ASSERTION_AUDIENCES: [&str; 2] = ["control-api/public", crate::bootstrap::CONTROL_API];

/// `typ` of an assertion.
const ASSERTION_TYPE: &str = "assertion+jwt";

/// How far the edge's clock and ours may differ, in seconds.
const SKEW_SECS: i64 = 30;

/// Longest `User-Agent` that is kept, in bytes.
const USER_AGENT_BYTES: usize = 256;

/// A door of the control API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    /// Through the edge.
    Public,
    /// On this machine.
    Admin,
    /// For gateways and services.
    Internal,
}

impl Listener {
    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
            Self::Internal => "internal",
        }
    }
}

/// What is known of a request.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Through which door it came.
    pub listener: Listener,
    /// Its id.
    pub request_id: RequestId,
    /// Client address.
    pub client: Option<IpAddr>,
    /// `User-Agent`, cut.
    pub user_agent: Option<String>,
    /// The hostname it was sent to.
    pub host: Option<HostName>,
    /// The project that `X-Project-Key` names: the hostname's, where that names one.
    pub project: Option<ProjectId>,
    /// What the edge says of it; on `public` only, and there always.
    pub asserted: Option<Asserted>,
    /// The certificate that the client proved to be its own; on `internal` with TLS only.
    pub proven: Option<Proven>,
}

/// What the edge asserts of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asserted {
    /// The tenant the edge decided it for.
    pub tenant: Option<TenantId>,
    /// The principal the edge knows; none for anonymous.
    pub subject: Option<String>,
}

impl RequestContext {
    /// From a request at the `admin` door.
    pub fn at_admin(parts: &Parts, clock: &dyn Clock) -> Self {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip());
        let host = text(&parts.headers, header::HOST.as_str()).or_else(|| parts.uri.authority().map(|a| a.as_str()));
        Self {
            listener: Listener::Admin,
            request_id: new_id(clock),
            client: peer,
            user_agent: user_agent(&parts.headers),
            host: host.and_then(|host| without_port(host).parse().ok()),
            project: None,
            asserted: None,
            proven: None,
        }
    }

    /// From a request at the `internal` door. Its Host names no tenant: what is asked about does.
    pub fn at_internal(parts: &Parts, clock: &dyn Clock) -> Self {
        Self {
            listener: Listener::Internal,
            request_id: new_id(clock),
            client: link::rpc::address_of(&parts.extensions).map(|address| address.ip()),
            user_agent: user_agent(&parts.headers),
            host: None,
            project: None,
            asserted: None,
            proven: link::rpc::proven(&parts.extensions),
        }
    }

    /// From a request at the `public` door, by the edge's assertion.
    ///
    /// # Errors
    /// [`AppError::AssertionInvalid`] when there is none, or one for another request, upstream or time.
    pub fn at_public(parts: &Parts, keys: &AssertionKeys, clock: &dyn Clock) -> Result<Self, AppError> {
        let mut tokens = parts.headers.get_all(ASSERTION_HEADER).iter();
        let (Some(token), None) = (tokens.next(), tokens.next()) else { return Err(AppError::AssertionInvalid) };
        let token = token.to_str().map_err(|_| AppError::AssertionInvalid)?;
        let claims = verify(token, keys, clock).ok_or(AppError::AssertionInvalid)?;
        if claims.htm != parts.method.as_str() || claims.htu != parts.uri.path() {
            return Err(AppError::AssertionInvalid);
        }
        Ok(Self {
            listener: Listener::Public,
            request_id: claims.rid,
            client: claims.cip,
            user_agent: user_agent(&parts.headers),
            host: Some(claims.host),
            project: None,
            asserted: Some(Asserted { tenant: claims.tid, subject: claims.sub.filter(|sub| !sub.is_empty()) }),
            // The edge's own says nothing of whom it asks for.
            proven: None,
        })
    }

    /// For the audit trail.
    pub fn origin(&self) -> Origin {
        Origin { source_ip: self.client, user_agent: self.user_agent.clone(), request_id: Some(self.request_id) }
    }
}

impl FromRequestParts<App> for RequestContext {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, AppError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(AppError::Internal { what: "a request came past the envelope", source: None })
    }
}

/// The claims of an assertion (`docs/architecture.md`).
#[derive(Deserialize)]
struct Claims {
    aud: String,
    iat: i64,
    exp: i64,
    #[serde(default)]
    tid: Option<TenantId>,
    #[serde(default)]
    sub: Option<String>,
    htm: String,
    htu: String,
    host: HostName,
    rid: RequestId,
    #[serde(default)]
    cip: Option<IpAddr>,
}

fn verify(token: &str, keys: &AssertionKeys, clock: &dyn Clock) -> Option<Claims> {
    let jws = authn::jws::Jws::parse(token).ok()?;
    if jws.header.alg != "HS256" || jws.header.typ.as_deref() != Some(ASSERTION_TYPE) {
        return None;
    }
    let kid = jws.header.kid.as_deref()?;
    let key = keys.iter().find(|key| key.kid == kid)?;
    let bytes = Secret::new(URL_SAFE_NO_PAD.decode(key.key.expose()).ok()?);
    let key = hmac::Key::new(hmac::HMAC_SHA256, bytes.expose());
    hmac::verify(&key, jws.signing_input, &jws.signature).ok()?;
    let claims: Claims = serde_json::from_value(serde_json::Value::Object(jws.claims.0)).ok()?;
    let now = clock.unix_now().secs();
    (ASSERTION_AUDIENCES.contains(&claims.aud.as_str())
        && claims.iat <= now + SKEW_SECS
        && now < claims.exp + SKEW_SECS)
        .then_some(claims)
}

/// A new id that grows with time (UUIDv7, RFC 9562 §5.7).
pub fn new_id<K>(clock: &dyn Clock) -> Id<K> {
    let millis = u64::try_from(clock.unix_now().millis()).unwrap_or(0);
    let nanos = u32::try_from(millis % 1000).unwrap_or(0) * 1_000_000;
    Id::new(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1000, nanos)))
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(header::USER_AGENT)?.as_bytes()).into_owned();
    Some(value.char_indices().take_while(|(at, c)| at + c.len_utf8() <= USER_AGENT_BYTES).map(|(_, c)| c).collect())
}

/// A header that stands there exactly once and is ASCII.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use domain::model::{AssertionKey, OtherKey};
    use serde_json::json;
    use testkit::FixedClock;

    use super::*;

    fn keys() -> AssertionKeys {
        let key = |kid: &str, byte: u8| AssertionKey {
            kid: kid.into(),
            key: Secret::new(URL_SAFE_NO_PAD.encode([byte; 32])),
        };
        AssertionKeys { active: key("new", 7), other: Some((OtherKey::Previous, key("old", 6))) }
    }

    fn header() -> serde_json::Value {
        json!({"alg": "HS256", "kid": "new", "typ": "assertion+jwt"})
    }

    fn assertion(header: serde_json::Value, claims: &serde_json::Value, key: &[u8]) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    fn parts(token: &str) -> Parts {
        let request = http::Request::builder().method("POST").uri("/api/v1/tenant/auth/login?x=1");
        request.header(ASSERTION_HEADER, token).body(()).unwrap().into_parts().0
    }

    fn claims(clock: &FixedClock) -> serde_json::Value {
        let now = clock.unix_now().secs();
        json!({
            "iss": "portcullis-edge", "aud": "control-api/public", "iat": now, "exp": now + 60, "sub": "",
            "tid": "00000000-0000-0000-0000-000000000001", "htm": "POST", "htu": "/api/v1/tenant/auth/login",
            "host": "acme.localhost", "rid": "00000000-0000-7000-8000-000000000009", "cip": "192.0.2.7",
        })
    }

    #[test]
    fn the_edge_says_who_where_and_from_where() {
        let clock = FixedClock::default();
        let token = assertion(header(), &claims(&clock), &[7; 32]);
        let context = RequestContext::at_public(&parts(&token), &keys(), &clock).unwrap();
        assert_eq!(context.host.unwrap().as_str(), "acme.localhost");
        assert_eq!(context.client, Some("192.0.2.7".parse().unwrap()));
        let asserted = context.asserted.unwrap();
        assert_eq!(asserted.subject, None);
        assert_eq!(asserted.tenant.unwrap().to_string(), "00000000-0000-0000-0000-000000000001");
    }

    #[test]
    fn while_the_key_is_exchanged_both_are_believed() {
        let clock = FixedClock::default();
        let old = json!({"alg": "HS256", "kid": "old", "typ": "assertion+jwt"});
        for token in [assertion(header(), &claims(&clock), &[7; 32]), assertion(old, &claims(&clock), &[6; 32])] {
            assert!(RequestContext::at_public(&parts(&token), &keys(), &clock).is_ok());
        }
    }

    #[test]
    fn refuses_an_assertion_for_anything_else() {
        let clock = FixedClock::default();
        let good = header();
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = claims(&clock);
            claims[name] = value;
            assertion(good.clone(), &claims, &[7; 32])
        };
        let headed = |name: &str, value: &str| {
            let mut header = header();
            header[name] = json!(value);
            assertion(header, &claims(&clock), &[7; 32])
        };
        let now = clock.unix_now().secs();
        for (what, token) in [
            ("another method", with("htm", json!("GET"))),
            ("another path", with("htu", json!("/api/v1/tenant/auth/logout"))),
            ("another upstream", with("aud", json!("orders"))),
            ("another time", with("exp", json!(now - 31))),
            ("the future", with("iat", json!(now + 31))),
            ("another key", assertion(good.clone(), &claims(&clock), &[8; 32])),
            ("the other key's name", assertion(good.clone(), &claims(&clock), &[6; 32])),
            ("an unknown key's name", headed("kid", "newer")),
            ("an access token's type", headed("typ", "at+jwt")),
            ("no algorithm", headed("alg", "none")),
            ("garbage", "x.y.z".into()),
        ] {
            assert!(RequestContext::at_public(&parts(&token), &keys(), &clock).is_err(), "{what}");
        }
        let mut twice = parts(&with("htm", json!("POST")));
        let again = twice.headers[ASSERTION_HEADER].clone();
        twice.headers.append(ASSERTION_HEADER, again);
        assert!(RequestContext::at_public(&twice, &keys(), &clock).is_err(), "two assertions");
    }
}
