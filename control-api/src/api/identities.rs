//! `/v1/auth/identities`: one's own identities at identity providers.

use axum::{Json, extract::State, response::IntoResponse, response::Response};
use domain::{
    FederatedIdentityId, Secret, Timestamp,
    model::{FederatedIdentity, IdentityProvider, ProviderKey, ProviderKind},
};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Gone, List},
    extract::{At, Body},
    oauth_login::word,
    schema::wire,
};
use crate::{
    App, app, app::oauth_login::Shown, caller::Principal, context::RequestContext, envelope::Settle, error::AppError,
};

/// That a provider knows one.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub struct IdentityView {
    /// Its id.
    id: FederatedIdentityId,
    /// The provider's key.
    provider: ProviderKey,
    /// What it speaks.
    provider_type: ProviderKind,
    /// What people are shown of it.
    provider_name: String,
    /// The address that the provider gave when this was made.
    email: Option<String>,
    /// When it was made.
    linked_at: Timestamp,
    /// When one last signed in by it.
    last_used_at: Option<Timestamp>,
}

/// What a provider gave to who began to link, and the password of who has one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkIdentity {
    /// As it was given when this was begun.
    state_token: Secret<String>,
    /// As the browser came back with it, or as it was given.
    state: Secret<String>,
    /// The provider's code.
    code: Option<Secret<String>>,
    /// `iss`, where the browser came back with it (RFC 9207).
    iss: Option<String>,
    /// The provider's ID token, of a program on a device.
    id_token: Option<Secret<String>>,
    /// The account's password, where it has one.
    password: Option<Secret<String>>,
}

wire!(IdentityView, LinkIdentity);

impl From<(FederatedIdentity, IdentityProvider)> for IdentityView {
    fn from((identity, provider): (FederatedIdentity, IdentityProvider)) -> Self {
        Self {
            id: identity.id,
            provider: provider.key,
            provider_type: provider.kind,
            provider_name: provider.name,
            email: identity.email_at_link,
            linked_at: identity.linked_at,
            last_used_at: identity.last_used_at,
        }
    }
}

/// Lists one's own identities; there are ten at most.
#[utoipa::path(get, path = "/v1/auth/identities", tag = "identity",
    responses((status = 200, body = List<IdentityView>)), security(("bearer" = [])))]
pub async fn list_identities(
    principal: Principal,
    State(app): State<App>,
) -> Result<Json<List<IdentityView>>, AppError> {
    let found = app::identities::list_identities(&app, &principal).await?;
    Ok(Json(List::whole(found.into_iter().map(Into::into).collect())))
}

/// Links an identity, by what was begun with `link: true`. One signed in a moment ago.
#[utoipa::path(post, path = "/v1/auth/identities", tag = "identity", request_body = LinkIdentity,
    responses((status = 201, body = IdentityView)), security(("bearer" = [])))]
pub async fn link_identity(
    context: RequestContext,
    principal: Principal,
    State(app): State<App>,
    Body(body): Body<LinkIdentity>,
) -> Result<Response, AppError> {
    let word = word(body.code, body.iss, body.id_token)?;
    let shown = Shown { state_token: body.state_token, state: body.state, word };
    let linked = app::identities::link_identity(&app, &context, &principal, &shown, body.password).await?;
    let mut response = (StatusCode::CREATED, Json(IdentityView::from(linked))).into_response();
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/v1/auth/identities"));
    Ok(response)
}

/// Unlinks an identity: never the last way to sign in. Sessions that were opened through its provider end.
#[utoipa::path(delete, path = "/v1/auth/identities/{id}", tag = "identity", params(("id" = String, Path)),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn unlink_identity(
    context: RequestContext,
    principal: Principal,
    State(app): State<App>,
    At(id): At<FederatedIdentityId>,
) -> Result<Gone, AppError> {
    app::identities::unlink_identity(&app, &context, &principal, id).await?;
    Ok(Gone(Settle { commit: None, revokes: true }))
}
