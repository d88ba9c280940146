//! `/v1/internal/users/lookup`: which of a tenant's users have these emails, for services.

use axum::{Json, extract::State};
use domain::{
    TenantId, UserId,
    model::{MembershipStatus, UserStatus},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{extract::Body, schema::wire};
use crate::{App, app, app::users::Known, error::AppError, service_caller::ServiceCaller};

/// Whose emails, and in which tenant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupUsers {
    /// The tenant.
    tenant_id: TenantId,
    /// 1 to 100 emails, in any case.
    #[schemars(length(min = 1, max = 100))]
    emails: Vec<String>,
}

/// A user of the tenant with one of these emails.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundUser {
    /// Their email, as they gave it.
    email: String,
    /// Their id.
    user_id: UserId,
    /// Their user name.
    username: Option<String>,
    /// First name.
    first_name: String,
    /// Last name.
    last_name: String,
    /// Whether they may act.
    status: UserStatus,
    /// Whether their membership counts.
    membership: MembershipStatus,
}

/// The users of the tenant with these emails. Emails that none of them has are absent, whoever else has them.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundUsers {
    /// The users, by id.
    users: Vec<FoundUser>,
}

wire!(LookupUsers, FoundUsers);

impl From<Known> for FoundUser {
    fn from(Known { user, membership }: Known) -> Self {
        Self {
            email: user.email.unwrap_or_default(),
            user_id: user.id,
            username: user.username,
            first_name: user.first_name,
            last_name: user.last_name,
            status: user.status,
            membership,
        }
    }
}

/// Which of a tenant's users have these emails.
#[utoipa::path(post, path = "/v1/internal/users/lookup", tag = "internal", request_body = LookupUsers,
    responses((status = 200, body = FoundUsers)), security(("service_key" = [])))]
pub async fn lookup_users(
    by: ServiceCaller,
    State(app): State<App>,
    Body(body): Body<LookupUsers>,
) -> Result<Json<FoundUsers>, AppError> {
    let found = app::users::lookup_users(&app, &by, body.tenant_id, &body.emails).await?;
    Ok(Json(FoundUsers { users: found.into_iter().map(Into::into).collect() }))
}
