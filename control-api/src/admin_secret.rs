//! The admin secret: what automation acts with before there are people, or without any.
//!
//! It is read on `admin` alone, compared in constant time, and named in the audit trail as an actor of its own. It brings customers,
//! projects, tenants and their names up; it ends nothing, and the platform's own project does not exist for it.

use std::path::Path;

use authz::{Caller, Context, PermissionSet};
use domain::{
    Id, ProjectId, Secret,
    audit::{Actor, ActorKind},
};
use http::{HeaderMap, header};
use link::file::SecretRef;
use store::read::*;
use uuid::Uuid;

use crate::{
    App,
    app::tokens::hash,
    bootstrap::ROOT,
    caller::{Principal, is_below},
    context::{Listener, RequestContext},
    error::AppError,
    problem,
    rates::Rate,
};

/// The header it comes in.
const HEADER: &str = "x-admin-secret";

/// Shortest secret, in bytes.
const MIN_BYTES: usize = 32;

/// The name in the audit trail.
const ACTOR: &str = "admin-secret";

/// What it may do: bring customers, projects and tenants up. It ends nothing, and takes no policy off.
const PERMISSIONS: [&str; 23] = [
    "platform:customer:create",
    "platform:customer:get",
    "platform:customer:list",
    "platform:project:create",
    "platform:project:get",
    "platform:project:list",
    "platform:project-credential:create",
    "platform:project-credential:delete",
    "platform:project-credential:list",
    "platform:signing-key:create",
    "platform:tenant:activate",
    "platform:tenant:create",
    "platform:tenant:get",
    "platform:tenant:list",
    "platform:tenant:provision",
    "platform:hostname:create",
    "platform:hostname:get",
    "platform:hostname:list",
    "platform:hostname:verify",
    "platform:email-domain:create",
    "platform:email-domain:list",
    "platform:email-domain:verify",
    "platform:login-policy:get",
];

/// Where it is nobody: where people act for themselves, and at keys that tokens are signed with. (A project's first is made with the
/// project.)
const NOT_FOR_IT: [&str; 5] = ["/api", "/v1/auth", "/v1/me", "/v1/break-glass", "/v1/signing-keys"];

/// What is kept of the secret that the configuration refers to; none where it names none.
///
/// # Errors
/// [`AppError::Internal`] for one that is not there or short.
pub(crate) fn read(configured: Option<&SecretRef>) -> Result<Option<Secret<[u8; 32]>>, AppError> {
    let Some(reference) = configured else { return Ok(None) };
    let failed = |reason: String| AppError::internal("the admin secret cannot be used", reason);
    let text = reference.resolve(Path::new(".")).map_err(|error| failed(problem::chain(&error)))?;
    if text.expose().len() < MIN_BYTES {
        return Err(failed(format!("it is shorter than {MIN_BYTES} bytes")));
    }
    Ok(Some(Secret::new(hash(text.expose()))))
}

/// Automation, where a request on `admin` carries the secret; none where it carries none.
///
/// # Errors
/// [`AppError::AdminSecretUnset`] where there is none; [`AppError::AdminSecretInvalid`]; [`AppError::RateLimited`] after many of those.
pub(crate) async fn principal(
    app: &App,
    context: &RequestContext,
    headers: &HeaderMap,
    path: &str,
) -> Result<Option<Principal>, AppError> {
    let mut shown = headers.get_all(HEADER).iter();
    let (first, more) = (shown.next(), shown.next());
    let Some(first) = first.filter(|_| context.listener == Listener::Admin) else { return Ok(None) };
    let kept = app.admin_secret.as_ref().ok_or(AppError::AdminSecretUnset)?;
    let right = more.is_none() && Secret::new(hash(&String::from_utf8_lossy(first.as_bytes()))) == *kept;
    if !right {
        let counted = app.admit_address(Rate::Machine, context).await;
        return Err(counted.err().unwrap_or(AppError::AdminSecretInvalid));
    }
    // Two credentials are two readings.
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(AppError::field("!x-admin-secret", "invalid", "stands beside a bearer token"));
    }
    if is_below(path, &NOT_FOR_IT) {
        return Err(AppError::ContextMismatch);
    }
    let tenant = app.store.tenant_by_slug(ROOT).await?.ok_or(AppError::NotFound("tenant"))?;
    let permissions: Result<Vec<_>, _> = PERMISSIONS.iter().map(|code| code.parse()).collect();
    let permissions = permissions.map_err(|error| AppError::internal("the admin secret's rights", error))?;
    let nobody = Uuid::nil();
    Ok(Some(Principal {
        caller: Caller {
            actor: Actor { kind: ActorKind::Service, id: None, name: ACTOR.into() },
            origin: context.origin(),
            context: Context::System,
            permissions: PermissionSet::new(&permissions),
            is_admin: false,
            is_super_admin: false,
        },
        user: Id::new(nobody),
        username: None,
        project: tenant.project_id,
        tenant: tenant.id,
        session: Id::new(nobody),
        token: Id::new(nobody),
        token_exp: app.now(),
        roles: Vec::new(),
        unit_roles: Vec::new(),
        is_program: true,
    }))
}

/// The platform's own project is none of automation's.
///
/// # Errors
/// [`AppError::NotFound`].
pub(crate) async fn spare_root(app: &App, principal: &Principal, project: ProjectId) -> Result<(), AppError> {
    if !is_automation(principal) {
        return Ok(());
    }
    let root = app.store.root_project().await?;
    if root.is_none_or(|root| root.id == project) { Err(AppError::NotFound("project")) } else { Ok(()) }
}

/// Whether it is by the admin secret that somebody acts.
fn is_automation(principal: &Principal) -> bool {
    principal.is_system() && principal.is_program
}
