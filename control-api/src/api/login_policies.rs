//! `/v1/tenants/{id}/login-policy` and `/password-policy`: how people sign in to a tenant. One row, of which the second is a part.

use std::collections::BTreeSet;

use axum::extract::State;
use domain::{
    TenantId, Timestamp,
    model::{LoginMethod, LoginPolicy, PasswordPolicy},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    answer::{Changed, Gone, One},
    extract::{At, Body, IfMatch, WaitQuery},
    schema::wire,
};
use crate::{App, app, caller::Principal, error::AppError};

/// How people sign in to a tenant.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LoginPolicy")]
#[expect(missing_docs, reason = "as in `domain::model::LoginPolicy`")]
pub struct LoginPolicyView {
    pub tenant_id: TenantId,
    pub methods: BTreeSet<LoginMethod>,
    pub require_2fa: bool,
    pub require_verified_identity: bool,
    pub idle_s: Option<u64>,
    pub absolute_s: Option<u64>,
    pub lock_after: Option<u32>,
    pub lock_s: Option<u64>,
    pub password: PasswordPolicy,
    /// Absent where the tenant never said anything.
    pub updated_at: Option<Timestamp>,
}

impl From<LoginPolicy> for LoginPolicyView {
    fn from(it: LoginPolicy) -> Self {
        Self {
            tenant_id: it.tenant_id,
            methods: it.methods,
            require_2fa: it.require_2fa,
            require_verified_identity: it.require_verified_identity,
            idle_s: it.idle_s,
            absolute_s: it.absolute_s,
            lock_after: it.lock_after,
            lock_s: it.lock_s,
            password: it.password,
            updated_at: it.updated_at,
        }
    }
}

/// How people are to sign in. What is absent is as the platform says; passwords stay as they are said to be.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutLoginPolicy {
    /// Ways to sign in. Default all.
    #[serde(default = "all")]
    methods: BTreeSet<LoginMethod>,
    /// Whether a second factor is demanded.
    #[serde(default)]
    require_2fa: bool,
    /// Whether only those are let in whose identity was verified for the tenant.
    #[serde(default)]
    require_verified_identity: bool,
    /// A session that was not used for so many seconds is over; at least 60.
    idle_s: Option<u64>,
    /// A session lives for so many seconds at most; at least 60.
    absolute_s: Option<u64>,
    /// So many failed sign-ins lock; not more than the platform says.
    lock_after: Option<u32>,
    /// For so many seconds; not fewer than the platform says.
    lock_s: Option<u64>,
}

fn all() -> BTreeSet<LoginMethod> {
    LoginMethod::ALL.into()
}

/// What passwords are to be.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "PasswordPolicy")]
#[serde(transparent)]
pub struct PasswordPolicyView(PasswordPolicy);

wire!(LoginPolicyView, PutLoginPolicy, PasswordPolicyView);

/// Reads how people sign in to a tenant.
#[utoipa::path(get, path = "/v1/tenants/{id}/login-policy", tag = "login policies", params(("id" = String, Path)),
    responses((status = 200, body = LoginPolicyView)), security(("bearer" = [])))]
pub async fn read_login_policy(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
) -> Result<One<LoginPolicyView>, AppError> {
    let policy = app::login_policies::read_login_policy(&app, &principal, tenant).await?;
    Ok(One { version: policy.version, body: policy.into() })
}

/// Says how people sign in to a tenant: more strictly than the platform does, never less.
#[utoipa::path(put, path = "/v1/tenants/{id}/login-policy", tag = "login policies",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = PutLoginPolicy,
    responses((status = 200, body = LoginPolicyView)), security(("bearer" = [])))]
pub async fn put_login_policy(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    IfMatch(version): IfMatch,
    Body(body): Body<PutLoginPolicy>,
) -> Result<Changed<LoginPolicyView>, AppError> {
    let edit = |policy: &mut LoginPolicy| {
        let said = body.clone();
        *policy = LoginPolicy {
            methods: said.methods,
            require_2fa: said.require_2fa,
            require_verified_identity: said.require_verified_identity,
            idle_s: said.idle_s,
            absolute_s: said.absolute_s,
            lock_after: said.lock_after,
            lock_s: said.lock_s,
            ..policy.clone()
        };
    };
    let (policy, commit) = app::login_policies::put_login_policy(&app, &principal, tenant, version, edit).await?;
    Ok(Changed { version: Some(policy.version), body: policy.into(), commit, revokes: false })
}

/// A tenant says nothing any more: neither how people sign in nor what passwords are.
#[utoipa::path(delete, path = "/v1/tenants/{id}/login-policy", tag = "login policies",
    params(("id" = String, Path), WaitQuery, IfMatch), responses((status = 204)), security(("bearer" = [])))]
pub async fn delete_login_policy(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    IfMatch(version): IfMatch,
) -> Result<Gone, AppError> {
    app::login_policies::delete_login_policy(&app, &principal, tenant, version).await.map(Gone::by)
}

/// Reads what passwords are in a tenant.
#[utoipa::path(get, path = "/v1/tenants/{id}/password-policy", tag = "login policies", params(("id" = String, Path)),
    responses((status = 200, body = PasswordPolicyView)), security(("bearer" = [])))]
pub async fn read_password_policy(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
) -> Result<One<PasswordPolicyView>, AppError> {
    let policy = app::login_policies::read_login_policy(&app, &principal, tenant).await?;
    Ok(One { version: policy.version, body: PasswordPolicyView(policy.password) })
}

/// Says what passwords are in a tenant: more than the platform asks for, never less. Present ones stay until they are changed.
#[utoipa::path(put, path = "/v1/tenants/{id}/password-policy", tag = "login policies",
    params(("id" = String, Path), WaitQuery, IfMatch), request_body = PasswordPolicyView,
    responses((status = 200, body = PasswordPolicyView)), security(("bearer" = [])))]
pub async fn put_password_policy(
    principal: Principal,
    State(app): State<App>,
    At(tenant): At<TenantId>,
    IfMatch(version): IfMatch,
    Body(PasswordPolicyView(wanted)): Body<PasswordPolicyView>,
) -> Result<Changed<PasswordPolicyView>, AppError> {
    let edit = |policy: &mut LoginPolicy| policy.password = wanted;
    let (policy, commit) = app::login_policies::put_login_policy(&app, &principal, tenant, version, edit).await?;
    let body = PasswordPolicyView(policy.password);
    Ok(Changed { version: Some(policy.version), body, commit, revokes: false })
}
