//! `/v1/api-keys`: a tenant's keys, on S1's paths; and on `internal`, whether one is accepted.

use std::net::IpAddr;

use axum::{Json, extract::State};
use domain::{
    ApiKeyId, ApiKeyScheme, HostName, HumanDuration, KeyPrefix, Network, Permission, ProjectId, Secret, TenantId,
    Timestamp, UserId,
    model::{ApiKey, ApiKeyStatus},
    snapshot::{RateLimit, TenantStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::ApiKeyList;

use super::{
    answer::{Changed, Created, Gone, List, One, ShownOnce},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed, TenantQuery, WaitQuery},
    schema::wire,
    tenants::checked_rate,
};
use crate::{
    App,
    app::{self, api_keys::VerifiedKey, auth_rpc::Place},
    caller::Principal,
    envelope::Waiting,
    error::AppError,
    service_caller::ServiceCaller,
};

/// An API key. Its text is shown when it is made or rotated, and never again.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ApiKey")]
#[expect(missing_docs, reason = "as in `domain::model::ApiKey`")]
pub struct ApiKeyView {
    pub id: ApiKeyId,
    pub tenant_id: TenantId,
    pub owner_id: UserId,
    pub name: String,
    /// Its public part: what a signed request names it by.
    pub prefix: KeyPrefix,
    pub scheme: ApiKeyScheme,
    /// What it is worth now.
    pub status: ApiKeyStatus,
    pub scopes: Vec<Permission>,
    pub networks: Vec<Network>,
    pub rate_limit: Option<RateLimit>,
    pub expires_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Until when the secret before the last rotation is accepted.
    pub previous_until: Option<Timestamp>,
    /// When it was last used, a minute more or less.
    pub last_used_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl ApiKeyView {
    fn at(it: ApiKey, now: Timestamp) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            owner_id: it.owner_id,
            scheme: it.scheme(),
            status: it.status(now),
            name: it.name,
            prefix: it.prefix,
            scopes: it.scopes,
            networks: it.networks,
            rate_limit: it.rate_limit,
            expires_at: it.expires_at,
            disabled_at: it.disabled_at,
            revoked_at: it.revoked_at,
            previous_until: it.previous_until.filter(|until| *until > now),
            last_used_at: it.last_used_at,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// An API key with its text, which is shown this once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ShownApiKey {
    /// The key.
    #[serde(flatten)]
    key: ApiKeyView,
    /// Its text: of scheme `bearer` to be sent, of scheme `hmac` to sign with.
    #[serde(serialize_with = "domain::secret::exposed")]
    secret: Secret<String>,
    /// Gateways that have not heard of it yet, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Waiting>,
}

/// A key to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// The tenant. Staff names one; others may name their own.
    tenant_id: Option<TenantId>,
    /// Whose it is: it acts as this user. Default: who asks.
    owner_id: Option<UserId>,
    /// What it is called: 1 to 128 characters.
    name: String,
    /// How its holder proves to have it. Default `bearer`.
    #[serde(default = "bearer")]
    scheme: ApiKeyScheme,
    /// What it may do at most, 64 at most; its owner has to hold each. Default none: it passes only where no permission
    /// is asked for.
    #[serde(default)]
    scopes: Vec<Permission>,
    /// Where it may be used from, 64 networks at most. Default everywhere.
    #[serde(default)]
    networks: Vec<Network>,
    /// Requests a second with it. Default none of its own.
    rate_limit: Option<RateLimit>,
    /// From when on it is not accepted. Default never.
    expires_at: Option<Timestamp>,
}

const fn bearer() -> ApiKeyScheme {
    ApiKeyScheme::Bearer
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateApiKey {
    /// For how long the secret it has is accepted beside the new one: at most `7d`, default `24h`.
    overlap: Option<HumanDuration>,
}

/// A bearer key, and where it has to be good: exactly one of `tenant_id` and `hostname`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyApiKey {
    /// Its text.
    key: Secret<String>,
    /// A tenant.
    tenant_id: Option<TenantId>,
    /// A hostname.
    hostname: Option<HostName>,
    /// The address it was used from; without one, its networks are not looked at.
    #[schemars(with = "Option<String>")]
    client: Option<IpAddr>,
}

/// A key that is accepted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VerifiedApiKey {
    /// The key.
    api_key_id: ApiKeyId,
    /// Its public part.
    prefix: KeyPrefix,
    /// The tenant it acts in.
    tenant_id: TenantId,
    /// The tenant's project.
    project_id: ProjectId,
    /// As whom it acts.
    user_id: UserId,
    /// Their sign-in name.
    username: Option<String>,
    /// What it may do now: what both its scopes and its owner's roles grant.
    permissions: Vec<Permission>,
    /// From when on it is not accepted.
    expires_at: Option<Timestamp>,
    /// Requests a second with it.
    rate_limit: Option<RateLimit>,
    /// The tenant's state: never suspended or deleted.
    tenant_status: TenantStatus,
}

wire!(ApiKeyView, ShownApiKey, CreateApiKey, RotateApiKey, VerifyApiKey, VerifiedApiKey);

/// Lists a tenant's keys, whatever became of them; for who may not see others', their own.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api keys", params(TenantQuery, ListQuery<ApiKeyList>),
    responses((status = 200, body = List<ApiKeyView>)), security(("bearer" = [])))]
pub async fn list_api_keys(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<TenantQuery>,
    Listed(asked): Listed<ApiKeyList>,
) -> Result<Json<List<ApiKeyView>>, AppError> {
    let site = principal.site(&app, query.tenant_id).await?;
    let found = app::api_keys::list_api_keys(&app, &principal, site, &asked).await?;
    let now = app.now();
    Ok(Json(List::of(found, |it| ApiKeyView::at(it, now))))
}

/// Makes a key. The answer shows its text, this once.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api keys", params(WaitQuery), request_body = CreateApiKey,
    responses((status = 201, body = ShownApiKey)), security(("bearer" = [])))]
pub async fn create_api_key(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateApiKey>,
) -> Result<ShownOnce<Created<ShownApiKey>>, AppError> {
    let site = principal.site(&app, body.tenant_id).await?;
    let wish = app::api_keys::Wish {
        name: body.name,
        scheme: body.scheme,
        owner: body.owner_id,
        scopes: body.scopes,
        networks: body.networks,
        rate_limit: checked_rate("/rate_limit", body.rate_limit)?,
        expires_at: body.expires_at,
    };
    let (made, secret, commit) = app::api_keys::create_api_key(&app, &principal, site, wish).await?;
    let (location, version) = (format!("/v1/api-keys/{}", made.id), Some(made.version));
    let body = ShownApiKey { key: ApiKeyView::at(made, app.now()), secret, waiting: None };
    Ok(ShownOnce(Created { location, version, body, commit }))
}

/// Reads a key.
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "api keys", params(("id" = String, Path)),
    responses((status = 200, body = ApiKeyView)), security(("bearer" = [])))]
pub async fn read_api_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ApiKeyId>,
) -> Result<One<ApiKeyView>, AppError> {
    let found = app::api_keys::read_api_key(&app, &principal, id).await?;
    Ok(One { version: found.version, body: ApiKeyView::at(found, app.now()) })
}

/// Ends a key for good: no gateway accepts it any more.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "api keys", params(("id" = String, Path), WaitQuery),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn revoke_api_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ApiKeyId>,
) -> Result<Gone, AppError> {
    app::api_keys::revoke_api_key(&app, &principal, id).await.map(Gone::by)
}

/// Takes a key back into use.
#[utoipa::path(post, path = "/v1/api-keys/{id}/enable", tag = "api keys",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = ApiKeyView)),
    security(("bearer" = [])))]
pub async fn enable_api_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ApiKeyId>,
) -> Result<Changed<ApiKeyView>, AppError> {
    let (changed, commit) = app::api_keys::set_api_key_disabled(&app, &principal, id, false).await?;
    let (version, body) = (Some(changed.version), ApiKeyView::at(changed, app.now()));
    // Waited for as well: whoever is told that it works can use it.
    Ok(Changed { version, body, commit, revokes: true })
}

/// Takes a key out of use: no gateway accepts it until it is enabled again.
#[utoipa::path(post, path = "/v1/api-keys/{id}/disable", tag = "api keys",
    params(("id" = String, Path), WaitQuery), responses((status = 200, body = ApiKeyView)),
    security(("bearer" = [])))]
pub async fn disable_api_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ApiKeyId>,
) -> Result<Changed<ApiKeyView>, AppError> {
    let (changed, commit) = app::api_keys::set_api_key_disabled(&app, &principal, id, true).await?;
    let (version, body) = (Some(changed.version), ApiKeyView::at(changed, app.now()));
    Ok(Changed { version, body, commit, revokes: true })
}

/// Gives a key another secret. The answer shows it, this once; the one it had is accepted for the overlap.
#[utoipa::path(post, path = "/v1/api-keys/{id}/rotate", tag = "api keys",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = RotateApiKey,
    responses((status = 200, body = ShownApiKey)), security(("bearer" = [])))]
pub async fn rotate_api_key(
    principal: Principal,
    State(app): State<App>,
    At(id): At<ApiKeyId>,
    IfMatch(version): IfMatch,
    Body(body): Body<RotateApiKey>,
) -> Result<ShownOnce<Changed<ShownApiKey>>, AppError> {
    let overlap = body.overlap.map(HumanDuration::get);
    let (changed, secret, commit) = app::api_keys::rotate_api_key(&app, &principal, id, version, overlap).await?;
    let version = Some(changed.version);
    let body = ShownApiKey { key: ApiKeyView::at(changed, app.now()), secret, waiting: None };
    Ok(ShownOnce(Changed { version, body, commit, revokes: true }))
}

/// Whether a bearer key is accepted now at a place. One that is not is refused with the edge's own code.
#[utoipa::path(post, path = "/v1/internal/api-keys/verify", tag = "internal", request_body = VerifyApiKey,
    responses((status = 200, body = VerifiedApiKey)), security(("service_key" = [])))]
pub async fn verify_api_key(
    by: ServiceCaller,
    State(app): State<App>,
    Body(body): Body<VerifyApiKey>,
) -> Result<Json<VerifiedApiKey>, AppError> {
    let place = Place::named(body.tenant_id, body.hostname)?;
    let VerifiedKey { key, permissions, tenant_status, .. } =
        app::api_keys::verify_api_key(&app, &by, (&body.key, &place, body.client)).await?;
    Ok(Json(VerifiedApiKey {
        api_key_id: key.id,
        prefix: key.prefix,
        tenant_id: key.tenant,
        project_id: key.project,
        user_id: key.owner,
        username: key.owner_name,
        permissions,
        expires_at: key.expires_at,
        rate_limit: key.rate_limit,
        tenant_status,
    }))
}
