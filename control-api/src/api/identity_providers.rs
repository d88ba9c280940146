//! `/v1/identity-providers`: who else vouches for a tenant's people, or for those of a whole project (`docs/identity-oauth.md`).

use axum::{Json, extract::State};
use domain::{
    IdentityProviderId, ProjectId, Secret, TenantId, Timestamp,
    model::{IdentityProvider, ProviderKey, ProviderKind, ProviderOptions},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::{ProjectProviderList, TenantProviderList};

use super::{
    answer::{Changed, Created, Gone, List, One},
    extract::{Asked, At, Body, IfMatch, ListQuery, Listed},
    schema::wire,
};
use crate::{
    App,
    app::{
        self,
        identity_providers::{Owner, ProviderDraft},
    },
    caller::Principal,
    error::AppError,
};

/// An identity provider. Its secret is never shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IdentityProvider")]
#[expect(missing_docs, reason = "as in `domain::model::IdentityProvider`")]
pub struct IdentityProviderView {
    pub id: IdentityProviderId,
    pub project_id: ProjectId,
    pub tenant_id: Option<TenantId>,
    pub key: ProviderKey,
    #[serde(rename = "type")]
    pub kind: ProviderKind,
    pub name: String,
    pub display_order: u32,
    pub enabled: bool,
    pub client_id: String,
    pub has_secret: bool,
    pub options: ProviderOptions,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl From<IdentityProvider> for IdentityProviderView {
    fn from(it: IdentityProvider) -> Self {
        Self {
            id: it.id,
            project_id: it.project_id,
            tenant_id: it.tenant_id,
            key: it.key,
            kind: it.kind,
            name: it.name,
            display_order: it.display_order,
            enabled: it.enabled,
            client_id: it.client_id,
            has_secret: it.has_secret,
            options: it.options,
            created_at: it.created_at,
            updated_at: it.updated_at,
        }
    }
}

/// What a provider is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutIdentityProvider {
    /// What it speaks. For good.
    #[serde(rename = "type")]
    kind: ProviderKind,
    /// What people are shown, 1 to 30 characters.
    name: String,
    /// Its place among others that are shown. Default 0.
    #[serde(default)]
    display_order: u32,
    /// Whether people sign in through it. Default true.
    #[serde(default = "yes")]
    enabled: bool,
    /// Who we are there.
    client_id: String,
    /// The client's secret; of Apple, the key as PEM. Absent: the one it has.
    client_secret: Option<Secret<String>>,
    /// What it is held to beside.
    #[serde(default)]
    options: ProviderOptions,
}

const fn yes() -> bool {
    true
}

impl PutIdentityProvider {
    fn draft(self) -> (ProviderKind, ProviderDraft) {
        let Self { kind, name, display_order, enabled, client_id, client_secret, options } = self;
        (kind, ProviderDraft { name, display_order, enabled, client_id, secret: client_secret, options })
    }
}

/// A provider to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateIdentityProvider {
    /// The tenant. Staff names one, or a project; others may name their own.
    tenant_id: Option<TenantId>,
    /// The project whose tenants all have it. Staff only.
    project_id: Option<ProjectId>,
    /// Its name in paths: 2 to 50 letters, digits, `_` and `-`.
    key: ProviderKey,
    /// What it speaks.
    #[serde(rename = "type")]
    kind: ProviderKind,
    /// What people are shown, 1 to 30 characters.
    name: String,
    /// Its place among others that are shown. Default 0.
    #[serde(default)]
    display_order: u32,
    /// Whether people sign in through it. Default true.
    #[serde(default = "yes")]
    enabled: bool,
    /// Who we are there.
    client_id: String,
    /// The client's secret; of Apple, the key as PEM.
    client_secret: Option<Secret<String>>,
    /// What it is held to beside.
    #[serde(default)]
    options: ProviderOptions,
}

/// A kind of provider there is, and what is asked for to set one up.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderType {
    /// Its name.
    #[serde(rename = "type")]
    kind: ProviderKind,
    /// Options it needs.
    needs: &'static [&'static str],
    /// Options it takes.
    takes: &'static [&'static str],
    /// What `client_secret` is.
    secret: &'static str,
}

wire!(IdentityProviderView, PutIdentityProvider, CreateIdentityProvider, ProviderType);

/// Whose providers.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OwnerQuery {
    /// The tenant. Staff names one, or a project; others may name their own.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The project whose tenants all have them. Staff only.
    #[param(value_type = Option<String>)]
    project_id: Option<ProjectId>,
}

impl OwnerQuery {
    async fn owner(self, app: &App, principal: &Principal) -> Result<Owner, AppError> {
        Owner::named(app, principal, self.tenant_id, self.project_id).await
    }
}

/// Lists which kinds of providers there are.
#[utoipa::path(get, path = "/v1/identity-providers/types", tag = "identity providers",
    responses((status = 200, body = List<ProviderType>)), security(("bearer" = [])))]
pub async fn list_identity_provider_types(_: Principal) -> Json<List<ProviderType>> {
    let of = |kind: ProviderKind| {
        let (needs, takes, secret): (&[_], &[_], _) = match kind {
            ProviderKind::Google => (&[], &["hosted_domain", "scopes", "native_client_ids"], "client secret"),
            ProviderKind::Microsoft => (&["directory"], &["scopes", "native_client_ids"], "client secret"),
            ProviderKind::Github => (&[], &["scopes"], "client secret"),
            ProviderKind::Apple => {
                (&["team_id", "key_id"], &["scopes", "native_client_ids"], "P-256 key, PKCS #8 in PEM")
            }
            ProviderKind::Oidc => (&["issuer"], &["scopes", "native_client_ids"], "client secret, if it has one"),
        };
        ProviderType { kind, needs, takes, secret }
    };
    Json(List::whole(ProviderKind::ALL.into_iter().map(of).collect()))
}

/// Lists a tenant's identity providers, or a project's.
#[utoipa::path(get, path = "/v1/identity-providers", tag = "identity providers",
    params(OwnerQuery, ListQuery<TenantProviderList>), responses((status = 200, body = List<IdentityProviderView>)),
    security(("bearer" = [])))]
pub async fn list_identity_providers(
    principal: Principal,
    State(app): State<App>,
    Asked(query): Asked<OwnerQuery>,
    Listed(of_tenant): Listed<TenantProviderList>,
    Listed(of_project): Listed<ProjectProviderList>,
) -> Result<Json<List<IdentityProviderView>>, AppError> {
    let owner = query.owner(&app, &principal).await?;
    let asked = (&of_tenant, &of_project);
    let found = app::identity_providers::list_identity_providers(&app, &principal, owner, asked).await?;
    Ok(Json(List::of(found, Into::into)))
}

/// Makes an identity provider.
#[utoipa::path(post, path = "/v1/identity-providers", tag = "identity providers", request_body = CreateIdentityProvider,
    responses((status = 201, body = IdentityProviderView)), security(("bearer" = [])))]
pub async fn create_identity_provider(
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<CreateIdentityProvider>,
) -> Result<Created<IdentityProviderView>, AppError> {
    let owner = Owner::named(&app, &principal, body.tenant_id, body.project_id).await?;
    let draft = ProviderDraft {
        name: body.name,
        display_order: body.display_order,
        enabled: body.enabled,
        client_id: body.client_id,
        secret: body.client_secret,
        options: body.options,
    };
    let new = (body.key, body.kind, draft);
    let (made, commit) = app::identity_providers::create_identity_provider(&app, &principal, owner, new).await?;
    let (location, version) = (format!("/v1/identity-providers/{}", made.key), Some(made.version));
    Ok(Created { location, version, body: made.into(), commit })
}

/// Reads an identity provider.
#[utoipa::path(get, path = "/v1/identity-providers/{key}", tag = "identity providers",
    params(("key" = String, Path), OwnerQuery), responses((status = 200, body = IdentityProviderView)),
    security(("bearer" = [])))]
pub async fn read_identity_provider(
    principal: Principal,
    State(app): State<App>,
    At(key): At<ProviderKey>,
    Asked(query): Asked<OwnerQuery>,
) -> Result<One<IdentityProviderView>, AppError> {
    let owner = query.owner(&app, &principal).await?;
    let found = app::identity_providers::read_identity_provider(&app, &principal, owner, &key).await?;
    Ok(One { version: found.version, body: found.into() })
}

/// Replaces an identity provider. Its type, issuer and directory stay, and its secret where none is given.
#[utoipa::path(put, path = "/v1/identity-providers/{key}", tag = "identity providers",
    params(("key" = String, Path), OwnerQuery, IfMatch), request_body = PutIdentityProvider,
    responses((status = 200, body = IdentityProviderView)), security(("bearer" = [])))]
pub async fn replace_identity_provider(
    principal: Principal,
    State(app): State<App>,
    At(key): At<ProviderKey>,
    Asked(query): Asked<OwnerQuery>,
    IfMatch(version): IfMatch,
    Body(body): Body<PutIdentityProvider>,
) -> Result<Changed<IdentityProviderView>, AppError> {
    let owner = query.owner(&app, &principal).await?;
    let replaced =
        app::identity_providers::replace_identity_provider(&app, &principal, (owner, &key), version, body.draft());
    let (changed, commit) = replaced.await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: true })
}

/// Deletes an identity provider, with what it knows of our people. Sessions that were opened through it end.
#[utoipa::path(delete, path = "/v1/identity-providers/{key}", tag = "identity providers",
    params(("key" = String, Path), OwnerQuery, IfMatch), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_identity_provider(
    principal: Principal,
    State(app): State<App>,
    At(key): At<ProviderKey>,
    Asked(query): Asked<OwnerQuery>,
    IfMatch(version): IfMatch,
) -> Result<Gone, AppError> {
    let owner = query.owner(&app, &principal).await?;
    let deleted = app::identity_providers::delete_identity_provider(&app, &principal, (owner, &key), version);
    deleted.await.map(Gone::by)
}
