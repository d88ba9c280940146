//! `/v1/me`: one's own account and sessions, in both contexts.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use domain::{
    SessionId, Timestamp,
    model::{AuthMethod, Session},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use store::list::SessionList;

use super::{
    account::Sure,
    answer::{Changed, Gone, List, One, settling},
    extract::{At, Body, IfMatch, ListQuery, Listed, WaitQuery},
    schema::wire,
    sessions::SignedOut,
    users::{UserDetails, UserView},
};
use crate::{App, app, app::me::MyEdit, caller::Principal, context::RequestContext, envelope::Settle, error::AppError};

/// One of one's own sessions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MySession")]
pub struct MySessionView {
    /// Its id.
    id: SessionId,
    /// Whether it is the one that asks.
    current: bool,
    /// How it was opened.
    method: AuthMethod,
    /// When its user proved who they are; a switch of the tenant keeps this.
    auth_time: Timestamp,
    /// From which address.
    ip: Option<String>,
    /// With which program.
    user_agent: Option<String>,
    /// When it was opened.
    created_at: Timestamp,
    /// When it was last refreshed.
    last_used_at: Timestamp,
    /// When it ends at the latest.
    expires_at: Timestamp,
}

/// What one changes of oneself; what is absent stays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    /// First name.
    first_name: Option<String>,
    /// Last name.
    last_name: Option<String>,
    /// Phone.
    phone: Option<String>,
}

/// How many sessions were ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EndedSessions {
    /// How many were open, in all tenants of the user's.
    ended: usize,
}

wire!(MySessionView, UpdateMe, EndedSessions);

impl MySessionView {
    pub(super) fn of(session: Session, principal: &Principal) -> Self {
        Self {
            id: session.sid,
            current: session.sid == principal.session,
            method: session.method,
            auth_time: session.auth_time,
            ip: session.ip.map(|ip| ip.to_string()),
            user_agent: session.user_agent,
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.expires_at,
        }
    }
}

/// An ended session is answered for once no gateway accepts it any more.
pub(super) const ENDS: Settle = Settle { commit: None, revokes: true };

/// Reads one's own account.
#[utoipa::path(get, path = "/v1/me", tag = "me", responses((status = 200, body = UserDetails)),
    security(("bearer" = [])))]
pub async fn read_me(principal: Principal, State(app): State<App>) -> Result<One<UserDetails>, AppError> {
    let user = app::me::read_me(&app, &principal).await?;
    let phone = app::me::my_phone(&app, &principal).await?;
    Ok(One { version: user.version, body: UserDetails::own(user, phone) })
}

/// Changes one's own profile.
#[utoipa::path(patch, path = "/v1/me", tag = "me", params(WaitQuery, IfMatch), request_body = UpdateMe,
    responses((status = 200, body = UserView)), security(("bearer" = [])))]
pub async fn update_me(
    principal: Principal,
    State(app): State<App>,
    IfMatch(version): IfMatch,
    Body(body): Body<UpdateMe>,
) -> Result<Changed<UserView>, AppError> {
    let edit = MyEdit { first_name: body.first_name, last_name: body.last_name, phone: body.phone };
    let (changed, commit) = app::me::update_me(&app, &principal, version, edit).await?;
    Ok(Changed { version: Some(changed.version), body: changed.into(), commit, revokes: false })
}

/// Lists one's own open sessions in the tenant.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "me", params(ListQuery<SessionList>),
    responses((status = 200, body = List<MySessionView>)), security(("bearer" = [])))]
pub async fn list_my_sessions(
    principal: Principal,
    State(app): State<App>,
    Listed(asked): Listed<SessionList>,
) -> Result<Json<List<MySessionView>>, AppError> {
    let found = app::me::list_my_sessions(&app, &principal, &asked).await?;
    Ok(Json(List::of(found, |it| MySessionView::of(it, &principal))))
}

/// Ends one of one's own sessions in the tenant.
#[utoipa::path(delete, path = "/v1/me/sessions/{sid}", tag = "me", params(("sid" = String, Path)),
    responses((status = 204)), security(("bearer" = [])))]
pub async fn end_my_session(
    principal: Principal,
    State(app): State<App>,
    At(sid): At<SessionId>,
) -> Result<Gone, AppError> {
    app::me::end_my_session(&app, &principal, sid).await?;
    Ok(Gone(ENDS))
}

/// Ends all of one's own sessions but the one that asks, in every tenant.
#[utoipa::path(post, path = "/v1/me/sessions/revoke-others", tag = "me",
    responses((status = 200, body = EndedSessions)), security(("bearer" = [])))]
pub async fn end_my_other_sessions(principal: Principal, State(app): State<App>) -> Result<Response, AppError> {
    let ended = app::me::end_my_other_sessions(&app, &principal).await?;
    Ok(settling(Json(EndedSessions { ended }).into_response(), ENDS))
}

/// Signs oneself out everywhere: every token and session in every tenant is refused, the one that asks too.
#[utoipa::path(post, path = "/v1/me/sign-out-everywhere", tag = "me", request_body = Sure,
    responses((status = 200, body = SignedOut)), security(("bearer" = [])))]
pub async fn sign_me_out_everywhere(
    principal: Principal,
    context: RequestContext,
    State(app): State<App>,
    Body(body): Body<Sure>,
) -> Result<Response, AppError> {
    app::me::sign_me_out_everywhere(&app, &context, &principal, body.password).await?;
    Ok(settling(Json(SignedOut::DONE).into_response(), ENDS))
}
