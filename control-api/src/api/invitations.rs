//! `/v1/tenants/{id}/invitations` and `/v1/invitations/accept`: how people join a tenant.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    InvitationId, RoleId, Secret, TenantId, Timestamp, UserId,
    model::{Invitation, InvitationStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::InvitationList;

use super::{
    answer::{Changed, Created, Gone, List, ShownOnce},
    extract::{At, Body, ListQuery, Listed, WaitQuery},
    schema::wire,
};
use crate::{
    App, app,
    app::invitations::{Acceptance, Invited, Joined},
    caller::Principal,
    context::RequestContext,
    error::AppError,
};

/// That whoever reads an address may join a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Invitation")]
#[expect(missing_docs, reason = "as in `domain::model::Invitation`")]
pub struct InvitationView {
    pub id: InvitationId,
    pub tenant_id: TenantId,
    pub email: String,
    pub role_ids: Vec<RoleId>,
    pub status: InvitationStatus,
    pub invited_by: UserId,
    pub accepted_by: Option<UserId>,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    pub settled_at: Option<Timestamp>,
}

impl InvitationView {
    fn at(it: Invitation, now: Timestamp) -> Self {
        Self {
            id: it.id,
            tenant_id: it.tenant_id,
            status: it.status(now),
            email: it.email,
            role_ids: it.roles,
            invited_by: it.invited_by,
            accepted_by: it.accepted_by,
            expires_at: it.expires_at,
            created_at: it.created_at,
            settled_at: it.settled_at,
        }
    }
}

/// Whom to invite.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvitation {
    /// Their address.
    email: String,
    /// Roles of the whole tenant that they get, at most 16: none that the inviter could not give.
    #[serde(default)]
    role_ids: Vec<RoleId>,
}

/// An invitation that was made. It says the same whether or not the address has an account.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MadeInvitation {
    /// It.
    #[serde(flatten)]
    invitation: InvitationView,
    /// Where it is accepted, with its token. In `dev` only; otherwise the address alone is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    invite_url: Option<String>,
}

/// What somebody shows who joins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// The invitation's token.
    token: Secret<String>,
    /// The password of the account that has the address; without one, the first of the account that is made.
    password: Secret<String>,
    /// User name of a new account.
    username: Option<String>,
    /// First name of a new account.
    #[serde(default)]
    first_name: String,
    /// Last name of a new account.
    #[serde(default)]
    last_name: String,
}

/// Who joined, and what.
#[derive(Debug, Serialize, JsonSchema)]
pub struct JoinedTenant {
    /// Who joined.
    user_id: UserId,
    /// The tenant.
    tenant_id: TenantId,
    /// Its name.
    tenant_slug: String,
}

wire!(InvitationView, CreateInvitation, MadeInvitation, AcceptInvitation, JoinedTenant);

/// Lists a tenant's invitations, whatever became of them.
#[utoipa::path(get, path = "/v1/tenants/{id}/invitations", tag = "invitations",
    params(("id" = String, Path), ListQuery<InvitationList>), responses((status = 200, body = List<InvitationView>)),
    security(("bearer" = [])))]
pub async fn list_invitations(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Listed(asked): Listed<InvitationList>,
) -> Result<Json<List<InvitationView>>, AppError> {
    let found = app::invitations::list_invitations(&app, &principal, tenant, &asked).await?;
    let now = app.now();
    Ok(Json(List::of(found, |it| InvitationView::at(it, now))))
}

/// Invites whoever reads an address to join a tenant.
#[utoipa::path(post, path = "/v1/tenants/{id}/invitations", tag = "invitations",
    params(("id" = String, Path), WaitQuery), request_body = CreateInvitation,
    responses((status = 201, body = MadeInvitation)), security(("bearer" = [])))]
pub async fn create_invitation(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Body(body): Body<CreateInvitation>,
) -> Result<Response, AppError> {
    let wanted = (body.email, body.role_ids);
    let (made, commit) = app::invitations::create_invitation(&app, &principal, tenant, wanted).await?;
    let Invited { invitation, url } = made;
    let location = format!("/v1/tenants/{tenant}/invitations/{}", invitation.id);
    let invitation = InvitationView::at(invitation, app.now());
    let body = MadeInvitation { invitation, invite_url: url.map(|url| url.expose().clone()) };
    let once = body.invite_url.is_some();
    let created = Created { location, version: None, body, commit };
    Ok(if once { ShownOnce(created).into_response() } else { created.into_response() })
}

/// Takes an invitation back that waits.
#[utoipa::path(delete, path = "/v1/tenants/{id}/invitations/{iid}", tag = "invitations",
    params(("id" = String, Path), ("iid" = String, Path), WaitQuery), responses((status = 204)),
    security(("bearer" = [])))]
pub async fn revoke_invitation(
    principal: Principal,
    State(app): State<App>,
    At((tenant, id)): At<(TenantId, InvitationId)>,
) -> Result<Gone, AppError> {
    app::invitations::revoke_invitation(&app, &principal, tenant, id).await.map(Gone::by)
}

/// Joins a tenant by an invitation. Then one signs in as ever.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "invitations", request_body = AcceptInvitation,
    responses((status = 200, body = JoinedTenant)))]
pub async fn accept_invitation(
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<AcceptInvitation>,
) -> Result<Changed<JoinedTenant>, AppError> {
    let AcceptInvitation { token, password, username, first_name, last_name } = body;
    let shown = Acceptance { token, password, username, first_name, last_name };
    let (Joined { user, tenant }, commit) = app::invitations::accept_invitation(&app, &context, shown).await?;
    let body = JoinedTenant { user_id: user, tenant_id: tenant.id, tenant_slug: tenant.slug.to_string() };
    Ok(Changed { version: None, body, commit, revokes: false })
}
