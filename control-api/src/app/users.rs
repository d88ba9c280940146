//! Users of a tenant. A user belongs to the project; a tenant's administrators reach the tenant's members, and of
//! members it shares with other tenants only the membership. Nobody changes, disables, signs out or deletes somebody who
//! holds more than themselves.

use authz::{
    Authorized, Scope,
    action::{ManageRoleBindings, ManageSessions, ManageUsers},
};
use domain::{
    PhoneNumber, ProjectId, RoleId, Secret, SessionId, TenantId, Timestamp, UserId,
    audit::{AuditEntry, Crud},
    model::{
        Membership, MembershipSource, MembershipStatus, NewRoleBinding, NewUser, RoleSubject, Session, StorageQuota,
        Subject, Tenant, User, UserStatus, Version,
    },
};
use serde_json::json;
use store::{
    Audited, Commit, LoginSubject, StoreError, Tx,
    list::{Selection, SessionList, Slice, UserList},
    read::*,
};

use super::{
    break_glass,
    factor_notices::{self, FactorChange},
    login::event,
    login_policies, new_tenant, projects, role_bindings, text,
};
use crate::{
    App,
    caller::{Principal, Site},
    config::ServiceMethod,
    context::new_id,
    error::AppError,
    service_caller::ServiceCaller,
};

/// A user as they are asked for.
#[derive(Clone, Debug)]
pub struct UserDraft {
    /// Email.
    pub email: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Phone.
    pub phone: Option<String>,
    /// Id in another system.
    pub external_id: Option<String>,
    /// First password.
    pub password: Option<Secret<String>>,
    /// Whether it must be changed before a session opens.
    pub must_change_password: bool,
    /// Roles they start with.
    pub roles: Vec<RoleId>,
}

/// What changes of a user.
#[derive(Clone, Debug, Default)]
pub struct UserEdit {
    /// Email.
    pub email: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Phone.
    pub phone: Option<String>,
    /// Id in another system.
    pub external_id: Option<String>,
}

/// A page of those of a tenant's users that fit.
pub async fn list_users(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<UserList>,
) -> Result<Slice<User>, AppError> {
    principal.may_in::<ManageUsers>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// A user of a tenant, as services are told of them.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who.
    pub user: User,
    /// Whether they count in the tenant.
    pub membership: MembershipStatus,
}

/// Who looks up emails.
#[derive(Clone, Debug)]
pub enum DirectoryReader {
    /// A service, or a gateway.
    Service(ServiceCaller),
    /// Who has a key to a project's directory.
    Project(ProjectId),
}

/// Most emails that are looked up at once.
const MAX_EMAILS: usize = 100;

/// Which of a tenant's users have these emails.
///
/// # Errors
/// [`AppError::NotFound`] without such a tenant; [`AppError::Invalid`] for none or more than 100.
pub async fn lookup_users(
    app: &App,
    by: &DirectoryReader,
    tenant: TenantId,
    emails: &[String],
) -> Result<Vec<Known>, AppError> {
    if let DirectoryReader::Service(service) = by {
        service.may(ServiceMethod::LookupUsers)?;
    }
    if !(1..=MAX_EMAILS).contains(&emails.len()) {
        return Err(AppError::field("/emails", "range", format!("1 to {MAX_EMAILS} are allowed")));
    }
    let reads = |tenant: &Tenant| match by {
        DirectoryReader::Service(_) => true,
        DirectoryReader::Project(project) => tenant.project_id == *project,
    };
    let tenant = app.store.tenant(tenant).await?.filter(reads).ok_or(AppError::NotFound("tenant"))?;
    let site = Site { project: tenant.project_id, tenant: tenant.id };
    let found = app.store.within(site.scope()).users_by_email(site.tenant, emails).await?;
    Ok(found.into_iter().map(|(user, membership)| Known { user, membership }).collect())
}

/// One of a tenant's users.
pub async fn read_user(app: &App, principal: &Principal, site: Site, id: UserId) -> Result<User, AppError> {
    principal.may_in::<ManageUsers>(site, "get")?;
    let found = app.store.within(site.scope()).user_of_tenant(site.tenant, id).await?;
    found.ok_or(AppError::NotFound("user"))
}

/// One of a tenant's users, and the number that they showed to read, if any.
pub async fn read_user_with_phone(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
) -> Result<(User, Option<(PhoneNumber, Timestamp)>), AppError> {
    let user = read_user(app, principal, site, id).await?;
    let phone = app.store.within(site.scope()).phone_of(user.id).await?;
    Ok((user, phone))
}

/// Makes a user, their membership and first roles.
pub async fn create_user(
    app: &App,
    principal: &Principal,
    site: Site,
    draft: UserDraft,
) -> Result<(User, Commit), AppError> {
    principal.may_in::<ManageUsers>(site, "create")?;
    projects::is_tenants_own(app, principal, site).await?;
    if !draft.roles.is_empty() {
        principal.may_in::<ManageRoleBindings>(site, "create")?;
    }
    role_bindings::covers(&app.store.within(site.scope()), principal, site, &draft.roles).await?;
    let new = new_user(app, site, &draft).await?;
    make(app, principal, site, (new, &draft.roles), false).await.map_err(Into::into)
}

/// Why a user was not made.
#[derive(Debug)]
pub(super) enum Unmade {
    /// It was a rehearsal, and would have worked.
    Rehearsed,
    /// It does not work.
    Failed(AppError),
}

impl From<AppError> for Unmade {
    fn from(error: AppError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Unmade {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Unmade> for AppError {
    fn from(unmade: Unmade) -> Self {
        match unmade {
            Unmade::Failed(error) => error,
            Unmade::Rehearsed => Self::internal("a user was rehearsed and not made", "nobody asked for that"),
        }
    }
}

/// Makes a user with roles that the caller may give, in one transaction; a rehearsal takes all of it back.
pub(super) async fn make(
    app: &App,
    principal: &Principal,
    site: Site,
    (new, roles): (NewUser, &[RoleId]),
    rehearsal: bool,
) -> Result<(User, Commit), Unmade> {
    let by = principal.may_in::<ManageUsers>(site, "create")?;
    let grants_by = match roles.is_empty() {
        true => None,
        false => Some(principal.may_in::<ManageRoleBindings>(site, "create")?),
    };
    let membership = Membership {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        user_id: new.id,
        source: MembershipSource::Added,
        status: MembershipStatus::Active,
        default_ou_id: None,
        created_at: app.now(),
    };
    let bindings: Vec<NewRoleBinding> = roles
        .iter()
        .map(|role| NewRoleBinding {
            id: new_id(&*app.clock),
            role_id: *role,
            subject: RoleSubject::User(new.id),
            project_id: site.project,
            tenant_id: site.tenant,
            ou_id: None,
        })
        .collect();
    let (grants_by, bindings) = (&grants_by, &bindings);
    app.store
        .write(&by, app.now(), |tx| {
            let (by, new, membership) = (by.clone(), new.clone(), membership.clone());
            async move {
                let made = tx.insert_user(&by, new).await?;
                let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::created(made.peek()) };
                let user = tx.audit(entry, made).await?;
                tx.created(tx.insert_membership(&by, membership).await?).await?;
                for (binding, by) in bindings.iter().zip(grants_by.iter().cycle()) {
                    tx.created(tx.insert_role_binding(by, binding.clone()).await?).await?;
                }
                if rehearsal { Err(Unmade::Rehearsed) } else { Ok(user) }
            }
        })
        .await
}

pub(super) async fn new_user(app: &App, site: Site, draft: &UserDraft) -> Result<NewUser, AppError> {
    if draft.email.is_none() && draft.username.is_none() {
        return Err(AppError::field("/username", "required", "a user name or an email is needed to sign in"));
    }
    named(draft.email.as_deref(), draft.username.as_deref())?;
    personal(Some(&draft.first_name), Some(&draft.last_name), draft.phone.as_deref())?;
    external(draft.external_id.as_deref())?;
    let password_hash = match &draft.password {
        Some(password) => {
            let policy = login_policies::passwords_of_tenant(app, site).await?;
            let names = [draft.email.as_deref(), draft.username.as_deref()].into_iter().flatten();
            let names: Vec<&str> = names.chain([draft.first_name.as_str(), draft.last_name.as_str()]).collect();
            app.passwords.check(&policy, password, &names, "/password")?;
            Some(app.passwords.hash(password.clone()).await?)
        }
        None => None,
    };
    Ok(NewUser {
        id: new_id(&*app.clock),
        project_id: site.project,
        email: draft.email.clone(),
        username: draft.username.clone(),
        first_name: draft.first_name.clone(),
        last_name: draft.last_name.clone(),
        phone: draft.phone.clone(),
        external_id: draft.external_id.clone(),
        status: UserStatus::Active,
        password_hash,
        must_change_password: draft.must_change_password,
        is_break_glass: false,
    })
}

/// An email has one `@` with something on both sides; a user name has none, so that one name is one user.
pub(super) fn named(email: Option<&str>, username: Option<&str>) -> Result<(), AppError> {
    let clean = |text: &str| (1..=254).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c == ' ');
    if let Some(email) = email {
        let parts: Vec<&str> = email.split('@').collect();
        if !clean(email) || parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(AppError::field("/email", "invalid", "is no email address"));
        }
    }
    if username.is_some_and(|name| !clean(name) || name.contains('@')) {
        return Err(AppError::field("/username", "invalid", "1 to 254 bytes without spaces and `@`"));
    }
    Ok(())
}

/// Refuses names and phone numbers that are none.
pub(super) fn personal(first: Option<&str>, last: Option<&str>, phone: Option<&str>) -> Result<(), AppError> {
    text::check("/first_name", first.unwrap_or_default(), text::NAME)?;
    text::check("/last_name", last.unwrap_or_default(), text::NAME)?;
    text::check("/phone", phone.unwrap_or_default(), text::PHONE)
}

/// Refuses what no other system calls anybody.
fn external(id: Option<&str>) -> Result<(), AppError> {
    match id {
        Some(id) if id.is_empty() || id.len() > 255 || id.chars().any(char::is_control) => {
            Err(AppError::field("/external_id", "invalid", "1 to 255 bytes, none of control"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Changes a user's profile.
pub async fn update_user(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    version: Option<Version>,
    edit: UserEdit,
) -> Result<(User, Commit), AppError> {
    let by = principal.may_in::<ManageUsers>(site, "update")?;
    named(edit.email.as_deref(), edit.username.as_deref())?;
    personal(edit.first_name.as_deref(), edit.last_name.as_deref(), edit.phone.as_deref())?;
    external(edit.external_id.as_deref())?;
    wholly_ours(app, principal, id).await?;
    app.store
        .write(&by, app.now(), |tx| {
            let (by, edit) = (by.clone(), edit.clone());
            async move {
                let mut user = changeable(&tx, principal, site, id).await?;
                user.version = version.unwrap_or(user.version);
                if edit.email.is_some() && edit.email != user.email {
                    user.email_verified_at = None;
                }
                user.email = edit.email.or(user.email);
                user.username = edit.username.or(user.username);
                user.first_name = edit.first_name.unwrap_or(user.first_name);
                user.last_name = edit.last_name.unwrap_or(user.last_name);
                user.phone = edit.phone.or(user.phone);
                user.external_id = edit.external_id.or(user.external_id);
                let change = tx.update_user(&by, user).await?;
                let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::updated(change.peek()) };
                Ok(tx.audit(entry, change).await?)
            }
        })
        .await
}

/// Says what a user may keep, for the applications behind the edge; none and nothing is said of them. It belongs to the user: of one
/// that other tenants share, only staff says it.
pub async fn set_user_quota(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    version: Option<Version>,
    quota: Option<StorageQuota>,
) -> Result<(User, Commit), AppError> {
    let by = principal.may_in::<ManageUsers>(site, "update")?;
    wholly_ours(app, principal, id).await?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let user = changeable(&tx, principal, site, id).await?;
                let change = tx.set_user_quota(&by, (id, version.unwrap_or(user.version)), quota).await?;
                let fields = json!({ "quota_bytes": quota.map(StorageQuota::bytes) });
                let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::done(change.peek(), "quota_set") };
                Ok(tx.audit(AuditEntry { fields, ..entry }, change).await?)
            }
        })
        .await
}

/// Lets a user act, or no more. Of a user that other tenants share, only the membership here is switched.
pub async fn switch_user(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    on: bool,
) -> Result<(User, Commit), AppError> {
    let (verb, past) = if on { ("enable", "enabled") } else { ("disable", "disabled") };
    let by = principal.may_in::<ManageUsers>(site, verb)?;
    if !on && id == principal.user {
        let detail = "nobody switches themselves off".to_owned();
        return Err(AppError::Conflict { code: "user_is_self", detail });
    }
    let shared = shared(app, principal, id).await?;
    app.store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                let mut user = changeable(&tx, principal, site, id).await?;
                let administered = role_bindings::administered(&tx, site).await?;
                let switched = if shared {
                    let status = if on { MembershipStatus::Active } else { MembershipStatus::Inactive };
                    let change = tx.update_membership(&by, site.tenant, id, status).await?;
                    tx.done(past, change).await?.map(|_| user)
                } else {
                    user.status = if on { UserStatus::Active } else { UserStatus::Disabled };
                    let change = tx.update_user(&by, user).await?;
                    audited(&tx, site, past, change).await?
                };
                role_bindings::still_administered(&tx, principal, site, administered).await?;
                Ok(switched)
            }
        })
        .await
}

/// Sets a user's password. Every token and session from before is refused.
pub async fn reset_password(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    password: Secret<String>,
    must_change: bool,
) -> Result<(User, Commit), AppError> {
    let by = principal.may_in::<ManageUsers>(site, "reset-password")?;
    let user = app.store.within(site.scope()).user_of_tenant(site.tenant, id).await?;
    let user = user.ok_or(AppError::NotFound("user"))?;
    unprotected(principal, &user)?;
    let policy = login_policies::passwords_of_tenant(app, site).await?;
    app.passwords.check(&policy, &password, &login_policies::names(&user), "/password")?;
    wholly_ours(app, principal, id).await?;
    role_bindings::outranks(&app.store.within(site.scope()), principal, site, id).await?;
    let hash = app.passwords.hash(password).await?;
    let hash = &hash;
    let changed = app
        .store
        .write(&by, app.now(), |tx| {
            let by = by.clone();
            async move {
                changeable(&tx, principal, site, id).await?;
                let change = tx.set_password(&by, id, hash, must_change).await?;
                audited(&tx, site, "password_reset", change).await
            }
        })
        .await?;
    forget_failures(app, site.project, id).await?;
    Ok(changed)
}

/// Takes away what a user proves who they are with beside the password: for who lost it. Every token and session from
/// before is refused. Nobody does so to themselves: that takes the factor.
pub async fn reset_factors(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
) -> Result<(User, Commit), AppError> {
    let by = principal.may_in::<ManageUsers>(site, "reset-factors")?;
    if id == principal.user {
        let detail = "one's own factors are taken away by who shows them".to_owned();
        return Err(AppError::Conflict { code: "user_is_self", detail });
    }
    wholly_ours(app, principal, id).await?;
    let project = app.store.project(site.project).await?.ok_or(AppError::NotFound("user"))?;
    let user = app.store.user(id).await?.ok_or(AppError::NotFound("user"))?;
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::Reset)?;
    let changed = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            changeable(&tx, principal, site, id).await?;
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let change = tx.reset_factors(&by, id).await?;
            audited(&tx, site, "factors_reset", change).await
        }
    });
    let changed = changed.await?;
    forget_failures(app, site.project, id).await?;
    Ok(changed)
}

/// A user's failed sign-ins are forgotten, wherever they were.
pub(super) async fn forget_failures(app: &App, project: ProjectId, id: UserId) -> Result<(), AppError> {
    use LoginSubject::{Direct, DirectFactor, Factor, User};
    let cleared = app.store.write_session(Scope::Project(project), app.now(), |tx| async move {
        for subject in [User(id), Direct(id), Factor(id), DirectFactor(id)] {
            tx.clear_login_failures(project, &subject).await?;
        }
        Ok::<_, AppError>(())
    });
    cleared.await
}

/// Gives one of the platform's staff a new password and lets them sign in again: for the command on the machine.
///
/// # Errors
/// [`AppError::NotFound`] for nobody of the root project; for its emergency administrator, who has a command of their own.
pub async fn reset_staff_password(app: &App, job: &'static str, username: &str) -> Result<Secret<String>, AppError> {
    let root = app.store.root_project().await?.ok_or(AppError::NotFound("project"))?;
    let user = app.store.user_by_login(root.id, username).await?.ok_or(AppError::NotFound("user"))?;
    let password = new_tenant::one_time_password()?;
    let hash = app.passwords.hash(password.clone()).await?;
    let by = Authorized::<ManageUsers>::system(job);
    let (by, hash, id) = (&by, &hash, user.id);
    let written = app.store.write(by, app.now(), |tx| async move {
        let mut found = tx.user(id).await?.ok_or(AppError::NotFound("user"))?;
        if found.status != UserStatus::Active {
            found.status = UserStatus::Active;
            tx.done("enabled", tx.update_user(by, found).await?).await?;
        }
        // Whoever runs it holds the machine, and who is locked out may have lost the second factor, too.
        tx.done("factors_reset", tx.reset_factors(by, id).await?).await?;
        Ok::<_, AppError>(tx.done("password_reset", tx.set_password(by, id, hash, false).await?).await?)
    });
    written.await?;
    forget_failures(app, root.id, id).await?;
    Ok(password)
}

/// Refuses every token and session of a user in a tenant.
pub async fn sign_out_user(app: &App, principal: &Principal, site: Site, id: UserId) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageSessions>(site, "delete")?;
    let signed_out = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            break_glass::spare(&tx, principal, id).await?;
            subordinate(&tx, principal, site, id).await?;
            Ok::<_, AppError>(tx.done("signed_out", tx.sign_out_member(&by, site.tenant, id).await?).await?)
        }
    });
    signed_out.await.map(|(_, commit)| commit)
}

/// A user's open sessions in a tenant.
pub async fn list_sessions(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    asked: &Selection<SessionList>,
) -> Result<Slice<Session>, AppError> {
    principal.may_in::<ManageSessions>(site, "list")?;
    let store = app.store.within(site.scope());
    store.user_of_tenant(site.tenant, id).await?.ok_or(AppError::NotFound("user"))?;
    Ok(store.list((site.tenant, id, app.now()), asked).await?)
}

/// Ends one of a user's sessions in a tenant.
///
/// # Errors
/// [`AppError::NotFound`] for a session that is somebody else's, of another tenant, or over.
pub async fn end_session(
    app: &App,
    principal: &Principal,
    site: Site,
    id: UserId,
    sid: SessionId,
) -> Result<(), AppError> {
    let by = principal.may_in::<ManageSessions>(site, "delete")?;
    let store = app.store.within(site.scope());
    store.user_of_tenant(site.tenant, id).await?.ok_or(AppError::NotFound("user"))?;
    let by = &by;
    let ended = app.store.write_session(site.scope(), app.now(), |tx| async move {
        break_glass::spare(&tx, principal, id).await?;
        role_bindings::outranks(&tx, principal, site, id).await?;
        let theirs = |session: &Session| session.user_id == id && session.tenant_id == site.tenant;
        tx.session(sid).await?.filter(theirs).ok_or(AppError::NotFound("session"))?;
        let ended = tx.end_session(sid, "ended_by_admin").await?.ok_or(AppError::NotFound("session"))?;
        tx.record(by.actor(), by.origin(), &event("session_revoked", Crud::D, &ended)).await?;
        Ok::<_, AppError>(())
    });
    ended.await
}

/// Deletes a user; of one that other tenants share, only the membership here.
pub async fn delete_user(app: &App, principal: &Principal, site: Site, id: UserId) -> Result<Commit, AppError> {
    let by = principal.may_in::<ManageUsers>(site, "delete")?;
    if id == principal.user {
        let detail = "nobody deletes themselves here".to_owned();
        return Err(AppError::Conflict { code: "user_is_self", detail });
    }
    let shared = shared(app, principal, id).await?;
    let deleted = app.store.write(&by, app.now(), |tx| {
        let by = by.clone();
        async move {
            let user = changeable(&tx, principal, site, id).await?;
            let administered = role_bindings::administered(&tx, site).await?;
            let deleted = if shared {
                let change = tx.delete_membership(&by, site.tenant, id).await?;
                tx.deleted(change).await?.map(|_| user)
            } else {
                let change = tx.delete_user(&by, id).await?;
                let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::deleted(change.peek()) };
                tx.audit(entry, change).await?
            };
            role_bindings::still_administered(&tx, principal, site, administered).await?;
            Ok::<_, AppError>(deleted)
        }
    });
    deleted.await.map(|(_, commit)| commit)
}

/// The customer's emergency administrator is nobody's in the tenant to change, switch or remove.
fn unprotected(principal: &Principal, user: &User) -> Result<(), AppError> {
    if user.is_break_glass && !principal.is_system() {
        let detail = "the customer's emergency administrator is kept as they are".into();
        return Err(AppError::Conflict { code: "user_is_break_glass", detail });
    }
    Ok(())
}

/// A member of the tenant who may be changed, judged in the transaction of the change.
async fn changeable(tx: &Tx, principal: &Principal, site: Site, id: UserId) -> Result<User, AppError> {
    let user = subordinate(tx, principal, site, id).await?;
    unprotected(principal, &user)?;
    Ok(user)
}

/// A member of the tenant who holds no more than the caller, judged in the transaction of the change.
async fn subordinate(tx: &Tx, principal: &Principal, site: Site, id: UserId) -> Result<User, AppError> {
    let user = tx.user_of_tenant(site.tenant, id).await?.ok_or(AppError::NotFound("user"))?;
    role_bindings::outranks(tx, principal, site, id).await?;
    Ok(user)
}

/// Audits `user.{verb}` in the tenant where it was done.
async fn audited<T: Subject>(
    tx: &Tx,
    site: Site,
    verb: &str,
    change: store::Unaudited<T>,
) -> Result<Audited<T>, AppError> {
    let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::done(change.peek(), verb) };
    Ok(tx.audit(entry, change).await?)
}

/// Whether a user is a member of other tenants too, as seen by a tenant's principal. Staff sees whole users.
async fn shared(app: &App, principal: &Principal, id: UserId) -> Result<bool, AppError> {
    Ok(!principal.is_system() && app.store.memberships_of_user(id).await?.len() > 1)
}

/// What belongs to the user and not to the membership is no tenant's to change once another tenant shares the user.
async fn wholly_ours(app: &App, principal: &Principal, id: UserId) -> Result<(), AppError> {
    if shared(app, principal, id).await? {
        return Err(AppError::ManagedByPlatform("the user is a member of other tenants too"));
    }
    Ok(())
}
