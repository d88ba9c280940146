//! `/v1/upstreams`: platform staff only.

use axum::{Json, extract::State};
use domain::{
    HostName, HumanDuration, Secret, Timestamp, UpstreamId,
    model::{AssertionKeys, AssertionMode, NewUpstream, OtherKey, Upstream, UpstreamSpec},
    snapshot::{HostPolicy, Peer, UpstreamTls},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::{Commit, list::UpstreamList, read::*};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, context::new_id, error::AppError};

/// TLS to an upstream; its certificate is always verified.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Name sent as SNI and required in the certificate.
    sni: HostName,
    /// PEM of the authorities trusted for it; none for the system's.
    ca_pem: Option<String>,
}

/// An upstream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Upstream")]
#[expect(missing_docs, reason = "as in `domain::model::Upstream`")]
pub struct UpstreamView {
    pub id: UpstreamId,
    pub name: String,
    pub peers: Vec<String>,
    pub plaintext: bool,
    pub tls: Option<Tls>,
    pub http2: bool,
    pub assertion: AssertionMode,
    pub headers: Option<Vec<String>>,
    pub host: HostPolicy,
    pub forward_credentials: bool,
    pub connect_timeout: HumanDuration,
    pub read_timeout: HumanDuration,
    pub write_timeout: HumanDuration,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<Upstream> for UpstreamView {
    fn from(it: Upstream) -> Self {
        let spec = it.spec;
        Self {
            id: it.id,
            name: it.name,
            peers: spec.peers.iter().map(text).collect(),
            plaintext: spec.tls.is_none(),
            tls: spec.tls.map(|tls| Tls { sni: tls.sni, ca_pem: tls.ca_pem }),
            http2: spec.http2,
            assertion: it.assertion,
            headers: spec.headers,
            host: spec.host,
            forward_credentials: spec.forward_credentials,
            connect_timeout: spec.connect_timeout,
            read_timeout: spec.read_timeout,
            write_timeout: spec.write_timeout,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// An upstream, as it is made or replaced. Exactly one of `tls` and `plaintext: true` is given.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteUpstream {
    /// Unique name, 1 to 63 of a-z, 0-9 and `-`; the assertion's audience.
    name: String,
    /// `ip:port`, `host:port` or `unix:/path`.
    peers: Vec<String>,
    /// Plain HTTP.
    #[serde(default)]
    plaintext: bool,
    /// TLS.
    tls: Option<Tls>,
    /// Speak HTTP/2.
    #[serde(default)]
    http2: bool,
    /// How identity is proven to it.
    #[serde(default)]
    assertion: AssertionMode,
    /// Identity headers it gets; none for all.
    headers: Option<Vec<String>>,
    /// The Host it gets.
    #[serde(default)]
    host: HostPolicy,
    /// Whether `Authorization` and the session cookie are forwarded.
    #[serde(default)]
    forward_credentials: bool,
    /// Longest wait for a connection. Default 5 s.
    connect_timeout: Option<HumanDuration>,
    /// Longest wait between two reads. Default 60 s.
    read_timeout: Option<HumanDuration>,
    /// Longest wait between two writes. Default 60 s.
    write_timeout: Option<HumanDuration>,
}

/// The key that signs an upstream's HMAC assertions, and the other one that its operator checks with while it is
/// exchanged.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AssertionKey {
    /// Names the key in the header of assertions.
    kid: String,
    /// 32 bytes, base64url.
    #[serde(serialize_with = "domain::secret::exposed")]
    key: Secret<String>,
    /// The other valid key.
    other: Option<OtherAssertionKey>,
}

/// The key beside the one that signs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OtherAssertionKey {
    /// Whether it signs next or did before.
    state: OtherKey,
    /// Names the key in the header of assertions.
    kid: String,
    /// 32 bytes, base64url.
    #[serde(serialize_with = "domain::secret::exposed")]
    key: Secret<String>,
}

impl From<AssertionKeys> for AssertionKey {
    fn from(AssertionKeys { active, other }: AssertionKeys) -> Self {
        let other = other.map(|(state, key)| OtherAssertionKey { state, kid: key.kid, key: key.key });
        Self { kid: active.kid, key: active.key, other }
    }
}

/// Which key is which; the keys themselves are read one by one and never repeated.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AssertionKeyIds {
    /// The one that signs.
    kid: String,
    /// The one that signs next.
    next: Option<String>,
    /// The one that signed before and is still valid.
    previous: Option<String>,
}

impl From<AssertionKeys> for AssertionKeyIds {
    fn from(AssertionKeys { active, other }: AssertionKeys) -> Self {
        let kid = |wanted| other.as_ref().filter(|(state, _)| *state == wanted).map(|(_, key)| key.kid.clone());
        Self { kid: active.kid, next: kid(OtherKey::Next), previous: kid(OtherKey::Previous) }
    }
}

wire!(UpstreamView, WriteUpstream, AssertionKey, AssertionKeyIds);

fn text(peer: &Peer) -> String {
    match peer {
        Peer::Socket(address) => address.to_string(),
        Peer::Name(name, port) => format!("{name}:{port}"),
        Peer::Unix(path) => format!("unix:{path}"),
    }
}

fn peer(text: &str) -> Option<Peer> {
    if let Some(path) = text.strip_prefix("unix:") {
        return path.starts_with('/').then(|| Peer::Unix(path.into()));
    }
    if let Ok(address) = text.parse() {
        return Some(Peer::Socket(address));
    }
    let (name, port) = text.rsplit_once(':')?;
    let name: HostName = name.parse().ok()?;
    Some(Peer::Name(name.as_str().into(), port.parse().ok()?))
}

impl WriteUpstream {
    fn spec(&self) -> Result<UpstreamSpec, AppError> {
        let named = (1..=63).contains(&self.name.len())
            && self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !named {
            return Err(AppError::field("/name", "invalid", "1 to 63 of a-z, 0-9 and `-`"));
        }
        if self.plaintext == self.tls.is_some() {
            return Err(AppError::field("/tls", "choice", "exactly one of `tls` and `plaintext: true` is given"));
        }
        let read = |(at, text): (usize, &String)| {
            let detail = "is not `ip:port`, `host:port` or `unix:/path`";
            peer(text).ok_or_else(|| AppError::field(format!("/peers/{at}"), "invalid", detail))
        };
        let peers = self.peers.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let defaults = UpstreamSpec::to(peers);
        Ok(UpstreamSpec {
            tls: self.tls.clone().map(|tls| UpstreamTls { sni: tls.sni, ca_pem: tls.ca_pem, control_plane: false }),
            http2: self.http2,
            headers: self.headers.clone(),
            host: self.host.clone(),
            forward_credentials: self.forward_credentials,
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
            read_timeout: self.read_timeout.unwrap_or(defaults.read_timeout),
            write_timeout: self.write_timeout.unwrap_or(defaults.write_timeout),
            ..defaults
        })
    }
}

/// Lists upstreams.
#[utoipa::path(get, path = "/v1/upstreams", tag = "routes", params(ListQuery<UpstreamList>),
    responses((status = 200, body = List<UpstreamView>)), security(("bearer" = [])))]
pub async fn list_upstreams(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<UpstreamList>,
) -> Result<Json<List<UpstreamView>>, AppError> {
    let found = app::upstreams::list_upstreams(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes an upstream.
#[utoipa::path(post, path = "/v1/upstreams", tag = "routes", params(WaitQuery), request_body = WriteUpstream,
    responses((status = 201, body = UpstreamView)), security(("bearer" = [])))]
pub async fn create_upstream(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<WriteUpstream>,
) -> Result<Created<UpstreamView>, AppError> {
    let spec = body.spec()?;
    let new = NewUpstream { id: new_id(&*app.clock), name: body.name, assertion: body.assertion, spec };
    let (made, commit) = app::upstreams::create_upstream(&app, &principal, new).await?;
    let location = format!("/v1/upstreams/{}", made.id);
    Ok(Created { location, version: Some(made.version), body: made.into(), commit })
}

/// Reads an upstream.
#[utoipa::path(get, path = "/v1/upstreams/{id}", tag = "routes", params(("id" = String, Path)),
    responses((status = 200, body = UpstreamView)), security(("bearer" = [])))]
pub async fn read_upstream(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UpstreamId>,
) -> Result<One<UpstreamView>, AppError> {
    let found = app::upstreams::read_upstream(&app, &principal, id).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Reads the key an upstream's operator checks HMAC assertions with.
#[utoipa::path(get, path = "/v1/upstreams/{id}/assertion-key", tag = "routes", params(("id" = String, Path)),
    responses((status = 200, body = AssertionKey)), security(("bearer" = [])))]
pub async fn read_assertion_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UpstreamId>,
) -> Result<Json<AssertionKey>, AppError> {
    Ok(Json(app::upstreams::read_assertion_key(&app, &principal, id).await?.into()))
}

/// Makes the key that will sign HMAC assertions next. Gateways go on with the old one; the upstream's operator reads the
/// new one and checks with both.
#[utoipa::path(post, path = "/v1/upstreams/{id}/assertion-key/next", tag = "routes", params(("id" = String, Path)),
    responses((status = 200, body = AssertionKeyIds)), security(("bearer" = [])))]
pub async fn prepare_assertion_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UpstreamId>,
) -> Result<Changed<AssertionKeyIds>, AppError> {
    let commit = app::upstreams::prepare_assertion_key(&app, &principal, id).await?;
    key_ids(&app, id, commit).await
}

/// Lets the next key sign; the one that did stays valid until it is removed. With `?wait=applied`, 200 says that no
/// live gateway signs with the old one any more.
#[utoipa::path(post, path = "/v1/upstreams/{id}/assertion-key/activate", tag = "routes",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = AssertionKeyIds)),
    security(("bearer" = [])))]
pub async fn activate_assertion_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UpstreamId>,
) -> Result<Changed<AssertionKeyIds>, AppError> {
    let commit = app::upstreams::activate_assertion_key(&app, &principal, id).await?;
    key_ids(&app, id, commit).await
}

/// Removes the key that does not sign: the upstream's operator may forget it.
#[utoipa::path(delete, path = "/v1/upstreams/{id}/assertion-key/{kid}", tag = "routes",
    params(("id" = String, Path), ("kid" = String, Path)), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_assertion_key(
    principal: Principal,
    State(app): State<App>,
    At((id, kid)): At<(UpstreamId, String)>,
) -> Result<Gone, AppError> {
    app::upstreams::delete_assertion_key(&app, &principal, id, &kid).await.map(Gone::by)
}

async fn key_ids(app: &App, id: UpstreamId, commit: Commit) -> Result<Changed<AssertionKeyIds>, AppError> {
    let body = app.store.upstream_assertion_keys(id).await?.into();
    Ok(Changed { version: None, body, commit, revokes: false })
}

/// Replaces an upstream's settings. Its assertion key stays.
#[utoipa::path(put, path = "/v1/upstreams/{id}", tag = "routes", params(("id" = String, Path), WaitQuery, IfMatch),
    request_body = WriteUpstream, responses((status = 200, body = UpstreamView)), security(("bearer" = [])))]
pub async fn replace_upstream(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UpstreamId>,
    IfMatch(version): IfMatch,
    Body(body): Body<WriteUpstream>,
) -> Result<Changed<UpstreamView>, AppError> {
    let spec = body.spec()?;
    let edit = |upstream: &mut Upstream| {
        upstream.name = body.name.clone();
        upstream.assertion = body.assertion;
        upstream.spec = spec.clone();
    };
    let (changed, commit) = app::upstreams::update_upstream(&app, &principal, id, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Deletes an upstream that nothing leads to.
#[utoipa::path(delete, path = "/v1/upstreams/{id}", tag = "routes", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_upstream(
    principal: Principal,
    State(app): State<App>,
    At(id): At<UpstreamId>,
) -> Result<Gone, AppError> {
    app::upstreams::delete_upstream(&app, &principal, id).await.map(Gone::by)
}

#[test]
fn a_peer_reads_back_what_it_wrote() {
    for good in ["127.0.0.1:3000", "[::1]:3000", "orders.internal:443", "unix:/run/orders.sock"] {
        assert_eq!(text(&peer(good).unwrap()), good);
    }
    for bad in ["", "orders", "orders:", "orders:99999", "unix:relative", "http://a:1", "a b:1", "10.1:80"] {
        assert!(peer(bad).is_none(), "{bad}");
    }
}
