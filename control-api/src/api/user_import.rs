//! `POST /v1/tenants/{id}/users/import`: users that another system had.

use axum::{Json, extract::State};
use domain::{Secret, TenantId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    extract::{At, Body},
    schema::wire,
};
use crate::{
    App, app,
    app::{
        user_import::{Fate, Imported},
        users::UserDraft,
    },
    caller::Principal,
    error::{AppError, FieldError},
};

/// Users to be taken over.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportUsers {
    /// 1 to 100 of them.
    users: Vec<ImportedUser>,
    /// Whether all of it is done and nothing kept. Default false.
    #[serde(default)]
    dry_run: bool,
}

/// A user as the other system knew them. A user name or an email is needed to sign in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedUser {
    /// Email, unique in the project.
    email: Option<String>,
    /// User name, unique in the project, without `@`.
    username: Option<String>,
    /// First name.
    #[serde(default)]
    first_name: String,
    /// Last name.
    #[serde(default)]
    last_name: String,
    /// Phone.
    phone: Option<String>,
    /// Id in another system, unique in the project.
    external_id: Option<String>,
    /// Hash of the password: Argon2id as a PHC string, or bcrypt, which becomes Argon2id when they first sign in.
    password_hash: Option<Secret<String>>,
    /// Whether the password must be changed before a session opens.
    #[serde(default)]
    must_change_password: bool,
    /// Names of the tenant's roles that they start with, 32 at most.
    #[serde(default)]
    roles: Vec<String>,
}

/// What became of them, in their order.
#[derive(Debug, Serialize, JsonSchema)]
pub struct UsersImported {
    /// One for each that was sent.
    results: Vec<ImportedUserFate>,
}

/// What became of one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ImportedUserFate {
    /// What.
    outcome: ImportOutcome,
    /// Who; in a dry run, of somebody who would have been made, none.
    id: Option<UserId>,
    /// Why they are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Which members are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default, with = "Vec<serde_json::Value>")]
    errors: Vec<FieldError>,
}

/// What can become of one.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportOutcome {
    /// Made; in a dry run: would have been.
    Created,
    /// There is somebody of that email or user name, who is left as they are.
    Present,
    /// Not made.
    Refused,
}

wire!(ImportUsers, UsersImported);

impl From<ImportedUser> for Imported {
    fn from(it: ImportedUser) -> Self {
        let draft = UserDraft {
            email: it.email,
            username: it.username,
            first_name: it.first_name,
            last_name: it.last_name,
            phone: it.phone,
            external_id: it.external_id,
            password: None,
            must_change_password: it.must_change_password,
            roles: Vec::new(),
        };
        Self { draft, password_hash: it.password_hash, roles: it.roles }
    }
}

impl ImportedUserFate {
    fn of(fate: Fate, dry_run: bool) -> Self {
        let good = |outcome, id| Self { outcome, id, code: None, detail: None, errors: Vec::new() };
        match fate {
            Fate::Created(id) => good(ImportOutcome::Created, (!dry_run).then_some(id)),
            Fate::Present(id) => good(ImportOutcome::Present, Some(id)),
            Fate::Refused(error) => Self {
                outcome: ImportOutcome::Refused,
                id: None,
                code: Some(error.public().1),
                detail: Some(error.to_string()),
                errors: error.fields(),
            },
        }
    }
}

/// Takes users over from another system, each for themselves: one who is refused keeps out nobody else, and who is there
/// already is left as they are.
#[utoipa::path(post, path = "/v1/tenants/{id}/users/import", tag = "users", params(("id" = String, Path)),
    request_body = ImportUsers, responses((status = 200, body = UsersImported)), security(("bearer" = [])))]
pub async fn import_users(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    Body(body): Body<ImportUsers>,
) -> Result<Json<UsersImported>, AppError> {
    let site = principal.site(&app, Some(tenant)).await?;
    let ImportUsers { users, dry_run } = body;
    let users = users.into_iter().map(Into::into).collect();
    let fates = app::user_import::import_users(&app, &principal, site, users, dry_run).await?;
    Ok(Json(UsersImported { results: fates.into_iter().map(|fate| ImportedUserFate::of(fate, dry_run)).collect() }))
}
