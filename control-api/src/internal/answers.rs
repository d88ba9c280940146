//! The auth RPC: from gRPC's words to [`crate::app::auth_rpc`] and back.

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use authn::ContextKind;
use domain::{HostName, OrgUnitId, Permission, Secret, model::Role, snapshot::TenantStatus};
use http::{Extensions, StatusCode};
use link::rpc::{
    auth::{AuthQuestions, Refusal, RefusalKind},
    proto,
};

use crate::{
    App,
    app::{
        auth_rpc::{self, Check, Checked, Place},
        tokens::TokenPair,
    },
    context::RequestContext,
    envelope::{self, Settle},
    error::AppError,
    service_caller::{self, ServiceCaller},
};

/// Answers services.
#[derive(Clone, Debug)]
pub struct Answers {
    app: App,
}

/// Who asks, and in which request.
struct Asker {
    by: ServiceCaller,
    context: RequestContext,
}

impl Answers {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }

    async fn answer<T>(
        &self,
        about: &Extensions,
        work: impl AsyncFnOnce(&App, Asker) -> Result<T, AppError>,
    ) -> Result<T, Refusal> {
        let context = about.get::<RequestContext>().cloned();
        let id = context.as_ref().map(|context| context.request_id.to_string()).unwrap_or_default();
        let outcome = async {
            let past = AppError::Internal { what: "a request came past the envelope", source: None };
            let asker = Asker { by: service_caller::of(about)?, context: context.ok_or(past)? };
            work(&self.app, asker).await
        };
        outcome.await.map_err(|error| {
            envelope::report(&error, &id);
            refusal(&error)
        })
    }
}

/// An error as services are told it: of failures of ours, that there was one.
fn refusal(error: &AppError) -> Refusal {
    let (status, code) = error.public();
    let kind = match status {
        StatusCode::UNAUTHORIZED => RefusalKind::Unauthenticated,
        StatusCode::FORBIDDEN => RefusalKind::Denied,
        StatusCode::NOT_FOUND => RefusalKind::NotFound,
        StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => RefusalKind::Precondition,
        StatusCode::TOO_MANY_REQUESTS => RefusalKind::Exhausted,
        StatusCode::SERVICE_UNAVAILABLE => RefusalKind::Unavailable,
        status if status.is_client_error() => RefusalKind::Invalid,
        _ => RefusalKind::Internal,
    };
    let detail = if status.is_server_error() { String::new() } else { error.to_string() };
    Refusal { kind, code, detail }
}

fn read<T: FromStr<Err: fmt::Display>>(pointer: &'static str, text: &str) -> Result<T, AppError> {
    text.parse().map_err(|error: T::Err| AppError::field(pointer, "invalid", error.to_string()))
}

fn place(tenant: Option<&str>, hostname: Option<&str>) -> Result<Place, AppError> {
    let tenant = tenant.map(|text| read("/tenant_id", text)).transpose()?;
    Place::named(tenant, hostname.map(|text| read::<HostName>("/hostname", text)).transpose()?)
}

fn check(asked: &proto::CheckPermissionRequest) -> Result<Check, AppError> {
    Ok(Check {
        tenant: read("/tenant_id", &asked.tenant_id)?,
        user: read("/user_id", &asked.user_id)?,
        permission: read("/permission", &asked.permission)?,
        unit: asked.ou_id.as_deref().map(|text| read::<OrgUnitId>("/ou_id", text)).transpose()?,
    })
}

fn checked(answer: Checked) -> proto::CheckPermissionReply {
    proto::CheckPermissionReply { allowed: answer.allowed, as_of_seq: answer.as_of.0 }
}

const fn status(status: TenantStatus) -> &'static str {
    match status {
        TenantStatus::Trial => "trial",
        TenantStatus::Active => "active",
        TenantStatus::Frozen => "frozen",
        TenantStatus::Suspended => "suspended",
        TenantStatus::Deleted => "deleted",
    }
}

fn names(roles: &[Role]) -> Vec<String> {
    roles.iter().map(|role| role.name.clone()).collect()
}

fn texts(permissions: Vec<Permission>) -> Vec<String> {
    permissions.iter().map(|permission| permission.as_str().to_owned()).collect()
}

#[async_trait]
impl AuthQuestions for Answers {
    async fn verify_token(
        &self,
        about: &Extensions,
        asked: proto::VerifyTokenRequest,
    ) -> Result<proto::VerifyTokenReply, Refusal> {
        let token = Secret::new(asked.token);
        let (tenant, hostname, audience) = (asked.tenant_id, asked.hostname, asked.audience);
        self.answer(about, async |app, Asker { by, context }| {
            let place = place(tenant.as_deref(), hostname.as_deref())?;
            let question = (&token, &place, audience.as_deref());
            let verified = auth_rpc::verify_token(app, &by, &context, question).await?;
            let (claims, principal) = (verified.claims, verified.principal);
            Ok(proto::VerifyTokenReply {
                user_id: principal.user.to_string(),
                username: principal.username,
                tenant_id: principal.tenant.to_string(),
                project_id: principal.project.to_string(),
                session_id: principal.session.to_string(),
                token_id: principal.token.to_string(),
                context: if claims.ctx == ContextKind::System { "sys".into() } else { "tenant".into() },
                issued_at: claims.iat,
                expires_at: claims.exp,
                auth_time: claims.auth_time,
                roles: names(&principal.roles),
                is_admin: principal.caller.is_admin,
                is_super_admin: principal.caller.is_super_admin,
                tenant_status: status(verified.tenant_status).into(),
            })
        })
        .await
    }

    async fn get_user_permissions(
        &self,
        about: &Extensions,
        asked: proto::GetUserPermissionsRequest,
    ) -> Result<proto::GetUserPermissionsReply, Refusal> {
        self.answer(about, async |app, Asker { by, .. }| {
            let (tenant, user) = (read("/tenant_id", &asked.tenant_id)?, read("/user_id", &asked.user_id)?);
            let rights = auth_rpc::user_permissions(app, &by, tenant, user).await?;
            let unit = |(unit, roles): &(OrgUnitId, Vec<Role>)| proto::UnitPermissions {
                ou_id: unit.to_string(),
                roles: names(roles),
                permissions: texts(auth_rpc::granted(roles)),
            };
            Ok(proto::GetUserPermissionsReply {
                as_of_seq: rights.as_of.0,
                active: rights.active,
                roles: names(&rights.roles),
                permissions: texts(auth_rpc::granted(&rights.roles)),
                units: rights.units.iter().map(unit).collect(),
                is_admin: rights.is_admin,
                is_super_admin: rights.is_super_admin,
            })
        })
        .await
    }

    async fn check_permission(
        &self,
        about: &Extensions,
        asked: proto::CheckPermissionRequest,
    ) -> Result<proto::CheckPermissionReply, Refusal> {
        self.answer(about, async |app, Asker { by, .. }| {
            let answers = auth_rpc::check_permissions(app, &by, &[check(&asked)?]).await?;
            let none = AppError::Internal { what: "a check has no answer", source: None };
            answers.first().copied().map(checked).ok_or(none)
        })
        .await
    }

    async fn batch_check_permission(
        &self,
        about: &Extensions,
        asked: proto::BatchCheckPermissionRequest,
    ) -> Result<proto::BatchCheckPermissionReply, Refusal> {
        self.answer(about, async |app, Asker { by, .. }| {
            let checks = asked.checks.iter().map(check).collect::<Result<Vec<_>, _>>()?;
            let answers = auth_rpc::check_permissions(app, &by, &checks).await?;
            Ok(proto::BatchCheckPermissionReply { results: answers.into_iter().map(checked).collect() })
        })
        .await
    }

    async fn refresh_token(
        &self,
        about: &Extensions,
        asked: proto::RefreshTokenRequest,
    ) -> Result<proto::RefreshTokenReply, Refusal> {
        let token = Secret::new(asked.refresh_token);
        let (tenant, hostname) = (asked.tenant_id, asked.hostname);
        self.answer(about, async |app, Asker { by, context }| {
            let place = place(tenant.as_deref(), hostname.as_deref())?;
            let pair: TokenPair = auth_rpc::refresh_token(app, &by, &context, (&token, &place)).await?;
            Ok(proto::RefreshTokenReply {
                access_token: pair.access_token.expose().clone(),
                refresh_token: pair.refresh_token.expose().clone(),
                token_type: "Bearer".into(),
                expires_in: pair.expires_in.as_secs(),
            })
        })
        .await
    }

    async fn invalidate_token(
        &self,
        about: &Extensions,
        asked: proto::InvalidateTokenRequest,
    ) -> Result<proto::InvalidateTokenReply, Refusal> {
        let token = Secret::new(asked.token);
        let (tenant, hostname) = (asked.tenant_id, asked.hostname);
        self.answer(about, async |app, Asker { by, context }| {
            let place = place(tenant.as_deref(), hostname.as_deref())?;
            auth_rpc::invalidate_token(app, &by, &context, (&token, &place)).await?;
            let patience = app.config.log.revoke_wait.get();
            let waiting = envelope::heard(app, Settle { commit: None, revokes: true }, patience).await?;
            Ok(match waiting {
                None => proto::InvalidateTokenReply { applied: true, waiting_for: Vec::new(), until: None },
                Some(waiting) => proto::InvalidateTokenReply {
                    applied: false,
                    waiting_for: waiting.waiting_for,
                    until: waiting.until.map(|until| until.secs()),
                },
            })
        })
        .await
    }
}
