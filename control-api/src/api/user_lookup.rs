//! `/v1/internal/users/lookup`: which of a tenant's users have these emails, for services.

use axum::{
    Json,
    extract::{FromRequestParts, State},
};
use domain::{
    TenantId, UserId,
    model::{MembershipStatus, StorageQuota, UserStatus},
};
use http::request::Parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{extract::Body, schema::wire};
use crate::{
    App, app,
    app::{
        project_credentials,
        users::{DirectoryReader, Known},
    },
    context::RequestContext,
    error::AppError,
    service_caller::ServiceCaller,
};

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
    /// What they may keep, in bytes; null where nothing is said of them.
    quota_bytes: Option<u64>,
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
            quota_bytes: user.quota.map(StorageQuota::bytes),
            status: user.status,
            membership,
        }
    }
}

/// By a key to a project's directory, or as a service. Two credentials are two readings.
impl FromRequestParts<App> for DirectoryReader {
    type Rejection = AppError;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, AppError> {
        let mut keys = parts.headers.get_all("x-directory-key").iter();
        let key = match (keys.next(), keys.next()) {
            (None, _) => return ServiceCaller::from_request_parts(parts, app).await.map(Self::Service),
            (Some(key), None) => key.to_str().map_err(|_| AppError::ProjectKeyInvalid)?.to_owned(),
            (Some(_), Some(_)) => return Err(AppError::ProjectKeyInvalid),
        };
        if ServiceCaller::from_request_parts(parts, app).await.is_ok() {
            return Err(AppError::ProjectKeyInvalid);
        }
        let context = RequestContext::from_request_parts(parts, app).await?;
        project_credentials::directory_of_key(app, &context, &key).await.map(Self::Project)
    }
}

/// Which of a tenant's users have these emails. Beside service keys, a project's directory key (`X-Directory-Key`) may ask about
/// tenants of its project.
#[utoipa::path(post, path = "/v1/internal/users/lookup", tag = "internal", request_body = LookupUsers,
    responses((status = 200, body = FoundUsers)), security(("service_key" = [])))]
pub async fn lookup_users(
    by: DirectoryReader,
    State(app): State<App>,
    Body(body): Body<LookupUsers>,
) -> Result<Json<FoundUsers>, AppError> {
    let found = app::users::lookup_users(&app, &by, body.tenant_id, &body.emails).await?;
    Ok(Json(FoundUsers { users: found.into_iter().map(Into::into).collect() }))
}
