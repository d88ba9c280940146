//! Signing in with a password.
//!
//! Whether a name exists is not told: unknown names cost the same hash, are counted and locked the same, and the answer
//! is the same. What is told after the right password was given (disabled, several tenants) is told to its holder.

use authz::Scope;
use domain::{
    OrgUnitId, Secret, TenantId, UserId,
    audit::{Actor, ActorKind, AuditEntry, Crud, Target},
    model::{AuthMethod, LoginMethod, MembershipStatus, Project, ProjectStatus, Role, Tenant, User, UserStatus},
    snapshot::{RoleScope, TenantStatus},
};
use futures::try_join;
use serde_json::json;
use store::{LoginSubject, StoreError, View, read::*};

use super::{
    email_domains, login_policies,
    sign_in::{FirstFactor, SignedIn, finish_sign_in},
    site::{self, Realm},
};
use crate::{
    App,
    context::{Listener, RequestContext},
    error::AppError,
    passwords,
    rates::Rate,
    turns::Turn,
};

/// Where somebody signs in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Door {
    /// As a tenant's principal.
    Tenant,
    /// As the platform's staff.
    System,
}

/// What somebody shows.
#[derive(Debug)]
pub struct Credentials {
    /// User name or email.
    pub username: String,
    /// Password.
    pub password: Secret<String>,
    /// The tenant, where the hostname does not say it.
    pub tenant: Option<String>,
}

/// Signs somebody in.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], [`AppError::LoginLocked`], [`AppError::TenantRequired`], and what the user's or
/// tenant's state says.
pub async fn login(
    app: &App,
    context: &RequestContext,
    door: Door,
    credentials: Credentials,
) -> Result<SignedIn, AppError> {
    app.admit_address(Rate::Login, context).await?;
    let realm = realm(app, context, door, &credentials).await?;
    let user = authenticate(app, context, &realm.project, &credentials).await?;
    let tenant = tenant(app, &realm, &user, credentials.tenant.as_deref()).await?;
    login_policies::allows(app, tenant.id, LoginMethod::Password).await?;
    if login_policies::is_overdue(app, &user).await? {
        return Err(AppError::PasswordChangeRequired);
    }
    let first = FirstFactor::new(door, AuthMethod::Password);
    finish_sign_in(app, context, first, &realm.project, &tenant, &user).await
}

/// A tenant's user by their password, and where they are one, without opening a session.
///
/// # Errors
/// As [`login`].
pub(super) async fn known(
    app: &App,
    context: &RequestContext,
    credentials: &Credentials,
) -> Result<(Project, Tenant, User), AppError> {
    app.admit_address(Rate::Login, context).await?;
    let realm = realm(app, context, Door::Tenant, credentials).await?;
    let user = authenticate(app, context, &realm.project, credentials).await?;
    let tenant = tenant(app, &realm, &user, credentials.tenant.as_deref()).await?;
    Ok((realm.project, tenant, user))
}

async fn realm(app: &App, context: &RequestContext, door: Door, credentials: &Credentials) -> Result<Realm, AppError> {
    let root = app.store.root_project().await?.ok_or(AppError::NotFound("project"))?;
    match door {
        Door::System => {
            let here = context.listener == Listener::Admin
                || site::realm_of_host(&app.store, context).await?.is_some_and(|realm| realm.project.id == root.id);
            let tenant = app.store.tenant_by_slug(crate::bootstrap::ROOT).await?.map(|tenant| tenant.id);
            if here { Ok(Realm { project: root, tenant }) } else { Err(AppError::NotFound("thing")) }
        }
        Door::Tenant => {
            if let Some(realm) = site::realm(app, context).await? {
                return Ok(realm);
            }
            let named = credentials.tenant.as_deref().filter(|_| context.listener == Listener::Admin);
            let named = match named {
                Some(slug) => site::realm_of_tenant(app, slug).await?,
                None => {
                    let nowhere = || AppError::field("/tenant", "required", "neither hostname nor body name a tenant");
                    return site::default_realm(app, context).await?.ok_or_else(nowhere);
                }
            };
            // A tenant nobody has: as a name nobody has, in a project where nothing is found.
            Ok(named.map_or(Realm { project: root, tenant: None }, |(project, tenant)| Realm {
                project,
                tenant: Some(tenant.id),
            }))
        }
    }
}

/// The user of these credentials. Counts failures, refuses while locked.
pub(super) async fn authenticate(
    app: &App,
    context: &RequestContext,
    project: &Project,
    credentials: &Credentials,
) -> Result<User, AppError> {
    app.admit_account(Rate::Login, context, (project.id, &credentials.username)).await?;
    let user = app.store.user_by_login(project.id, &credentials.username).await?;
    let subject = match &user {
        Some(user) => subject(context, user),
        None => LoginSubject::Name(credentials.username.chars().take(256).collect()),
    };
    knows(app, context, (project, &subject), user, credentials.password.clone()).await
}

/// Whether who has signed in knows their password. Guesses are counted and locked as at any sign-in; who has none knows it
/// never.
pub(super) async fn confirm_password(
    app: &App,
    context: &RequestContext,
    project: &Project,
    user: User,
    password: Secret<String>,
) -> Result<User, AppError> {
    let subject = subject(context, &user);
    knows(app, context, (project, &subject), Some(user), password).await
}

/// The user, if there is one and the password is theirs.
async fn knows(
    app: &App,
    context: &RequestContext,
    (project, subject): (&Project, &LoginSubject),
    user: Option<User>,
    password: Secret<String>,
) -> Result<User, AppError> {
    let _turn = turn(app, project, subject).await?;
    let stored = user.as_ref().and_then(|user| user.password_hash.clone());
    let right = app.passwords.verify(password.clone(), stored).await?;
    match user.filter(|_| right) {
        Some(user) => rehashed(app, user, &password).await,
        None => {
            fail(app, context, project, subject).await?;
            Err(AppError::CredentialsInvalid)
        }
    }
}

/// A user whose hash is ours: one that was imported is replaced by one of the password that was just shown.
async fn rehashed(app: &App, mut user: User, password: &Secret<String>) -> Result<User, AppError> {
    let Some(old) = user.password_hash.clone().filter(|hash| !passwords::is_ours(hash)) else { return Ok(user) };
    let new = app.passwords.hash(password.clone()).await?;
    let (id, scope) = (user.id, Scope::Project(user.project_id));
    let upgraded = app.store.write_session(scope, app.now(), |tx| {
        let (old, new) = (old.clone(), new.clone());
        async move { tx.upgrade_password_hash(id, &old, &new).await }
    });
    match upgraded.await {
        Ok(()) => user.password_hash = Some(new),
        // Somebody else was quicker, be it by another password: whoever opens the session looks at it again.
        Err(StoreError::NotFound { .. }) => {
            user = app.store.user(id).await?.ok_or(AppError::CredentialsInvalid)?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(user)
}

/// Somebody's turn to sign in: looked at, verified and counted in one, so that guesses made at once are not all let
/// through.
///
/// # Errors
/// [`AppError::LoginLocked`].
pub(super) async fn turn(app: &App, project: &Project, subject: &LoginSubject) -> Result<Turn, AppError> {
    let turn = app.sign_ins.take(&format!("{}:{}", project.id, subject.key())).await;
    let failures = app.store.login_failures(project.id, subject).await?;
    match failures.locked(app.now()) {
        Some(left) => Err(AppError::LoginLocked { retry_after: left.as_secs().max(1) }),
        None => Ok(turn),
    }
}

/// Whose failures a user's are: at the edge they do not count on the control API's own listener.
pub(super) fn subject(context: &RequestContext, user: &User) -> LoginSubject {
    match context.listener {
        Listener::Admin | Listener::Internal => LoginSubject::Direct(user.id),
        Listener::Public => LoginSubject::User(user.id),
    }
}

/// The same of their second factor.
pub(super) fn factor(context: &RequestContext, user: &User) -> LoginSubject {
    match context.listener {
        Listener::Admin | Listener::Internal => LoginSubject::DirectFactor(user.id),
        Listener::Public => LoginSubject::Factor(user.id),
    }
}

/// Counts a failed sign-in.
pub(super) async fn fail(
    app: &App,
    context: &RequestContext,
    project: &Project,
    subject: &LoginSubject,
) -> Result<(), AppError> {
    let policy = login_policies::lock(app, project.id).await?;
    let actor = Actor { kind: ActorKind::Anonymous, id: None, name: String::new() };
    let origin = context.origin();
    // A name nobody has may be a password typed into the wrong field: it is not kept.
    let id = match subject {
        LoginSubject::User(id)
        | LoginSubject::Direct(id)
        | LoginSubject::Factor(id)
        | LoginSubject::DirectFactor(id) => id.to_string(),
        LoginSubject::Name(_) => String::new(),
    };
    let factor =
        if matches!(subject, LoginSubject::Factor(_) | LoginSubject::DirectFactor(_)) { "second" } else { "first" };
    let scope = Scope::Project(project.id);
    let failed = app.store.write_session(scope, app.now(), |tx| {
        let (subject, actor, origin, id) = (subject.clone(), actor.clone(), origin.clone(), id.clone());
        let project = project.id;
        async move {
            let counted = tx.count_login_failure(project, &subject, policy).await?;
            let locked = counted.failures == policy.after && counted.locked_until.is_some();
            let entry = AuditEntry {
                action: if locked { "login_locked" } else { "login_failure" }.into(),
                crud: Crud::C,
                target: Target { kind: "user".into(), id, name: String::new() },
                project_id: Some(project),
                tenant_id: None,
                is_failure: true,
                fields: json!({ "failures": counted.failures, "factor": factor }),
            };
            tx.record(&actor, &origin, &entry).await?;
            Ok::<_, AppError>(())
        }
    });
    failed.await
}

/// The tenant of the new session: the hostname's, the one that is named, or the only one.
pub(super) async fn tenant(app: &App, realm: &Realm, user: &User, named: Option<&str>) -> Result<Tenant, AppError> {
    email_domains::join(app, &realm.project, user).await?;
    let mut mine = Vec::new();
    for membership in app.store.memberships_of_user(user.id).await? {
        if membership.status == MembershipStatus::Active
            && let Some(tenant) = app.store.tenant(membership.tenant_id).await?
            && tenant.deleted_at.is_none()
        {
            mine.push(tenant);
        }
    }
    let wanted = |tenant: &Tenant| match (realm.tenant, named) {
        (Some(id), _) => tenant.id == id,
        (None, Some(slug)) => tenant.slug.as_str() == slug,
        (None, None) => true,
    };
    if realm.tenant.is_none() && named.is_none() && mine.len() > 1 {
        let slugs = mine.iter().map(|tenant| tenant.slug.to_string()).collect();
        return Err(AppError::TenantRequired { slugs });
    }
    // Not a member here: as if the name were unknown.
    mine.into_iter().find(wanted).ok_or(AppError::CredentialsInvalid)
}

/// Whether a user's sessions may be opened in a tenant as things stand.
pub(super) fn may_sign_in(project: &Project, tenant: &Tenant, user: &User) -> Result<(), AppError> {
    if project.status == ProjectStatus::Suspended
        || matches!(tenant.status, TenantStatus::Suspended | TenantStatus::Deleted)
    {
        return Err(AppError::TenantSuspended);
    }
    match user.status {
        UserStatus::Active if user.must_change_password => Err(AppError::PasswordChangeRequired),
        UserStatus::Active => Ok(()),
        UserStatus::Invited
        | UserStatus::Disabled
        | UserStatus::Locked
        | UserStatus::Suspended
        | UserStatus::PendingDeletion => Err(AppError::PrincipalInactive),
    }
}

/// The roles a user has in a tenant that count at a door.
pub(super) async fn held(
    at: &View,
    tenant: TenantId,
    user: UserId,
    door: Door,
) -> Result<(Vec<Role>, Option<OrgUnitId>), AppError> {
    let counts = match door {
        Door::Tenant => RoleScope::Tenant,
        Door::System => RoleScope::Platform,
    };
    let (bindings, membership) = try_join!(at.bindings(tenant, user), at.membership(tenant, user))?;
    let mut roles = roles_by_id(at, &bindings.roles).await?;
    roles.retain(|role| role.scope == counts);
    let wanted = membership.and_then(|membership| membership.default_ou_id);
    let unit = wanted.filter(|wanted| bindings.unit_roles.iter().any(|(unit, _)| unit == wanted));
    Ok((roles, unit))
}

/// Roles by their ids, sorted by name.
pub async fn roles_by_id(at: &impl Reader, ids: &[domain::RoleId]) -> Result<Vec<Role>, AppError> {
    let mut roles = at.roles_by_ids(ids).await?;
    roles.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(roles)
}

/// A security event about a session.
pub(super) fn event(action: &str, crud: Crud, session: &domain::model::Session) -> AuditEntry {
    AuditEntry {
        action: action.into(),
        crud,
        target: Target { kind: "session".into(), id: session.sid.to_string(), name: String::new() },
        project_id: Some(session.project_id),
        tenant_id: Some(session.tenant_id),
        is_failure: false,
        fields: json!({ "user_id": session.user_id, "system": session.system }),
    }
}
