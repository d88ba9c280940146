//! Users that another system had, with the hashes of their passwords: nobody has to choose a new one.
//!
//! Each user is a transaction of its own, so that one who cannot be taken over keeps out nobody else, and an import that
//! was cut off goes on where it was: who is there already is left as they are.

use authz::action::{ManageRoleBindings, ManageUsers};
use domain::{RoleId, Secret, UserId, model::Role};
use store::{Page, read::*};

use super::{projects, role_bindings, users};
use crate::{
    App,
    app::users::UserDraft,
    caller::{Principal, Site},
    error::AppError,
    imported_hash,
};

/// Most users of one call: each is a transaction.
pub const MOST: usize = 100;

/// Most roles of one user.
const MOST_ROLES: usize = 32;

/// A user as the other system knew them.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Without a password, and without roles.
    pub draft: UserDraft,
    /// The hash of their password; none: they have none until they set one.
    pub password_hash: Option<Secret<String>>,
    /// Names of the tenant's roles that they start with.
    pub roles: Vec<String>,
}

/// What became of one.
#[derive(Debug)]
pub enum Fate {
    /// Made; in a rehearsal: would have been.
    Created(UserId),
    /// There is somebody of that email or user name in the project.
    Present(UserId),
    /// Not made.
    Refused(AppError),
}

/// Takes users over. A rehearsal does all of it and keeps nothing.
///
/// # Errors
/// For none of them, or more than [`MOST`], and what concerns all.
pub async fn import_users(
    app: &App,
    principal: &Principal,
    site: Site,
    wanted: Vec<Imported>,
    rehearsal: bool,
) -> Result<Vec<Fate>, AppError> {
    // A tenant's administrators make users with passwords, whose cost is ours to choose.
    if !principal.is_system() {
        return Err(AppError::ContextMismatch);
    }
    principal.may_in::<ManageUsers>(site, "create")?;
    projects::is_tenants_own(app, principal, site).await?;
    if !(1..=MOST).contains(&wanted.len()) {
        return Err(AppError::field("/users", "range", format!("1 to {MOST} are taken at once")));
    }
    if wanted.iter().any(|it| !it.roles.is_empty()) {
        principal.may_in::<ManageRoleBindings>(site, "create")?;
    }
    let roles = app.store.within(site.scope()).roles_of_tenant(site.tenant, Page::WIDEST).await?;
    let mut fates = Vec::with_capacity(wanted.len());
    for one in wanted {
        fates.push(match take(app, principal, site, &roles, one, rehearsal).await {
            Ok(fate) => fate,
            // What is no fault of the user's is no fate: whoever asks again goes on.
            Err(error) if error.public().0.is_server_error() => return Err(error),
            Err(error) => Fate::Refused(error),
        });
    }
    Ok(fates)
}

async fn take(
    app: &App,
    principal: &Principal,
    site: Site,
    roles: &[Role],
    wanted: Imported,
    rehearsal: bool,
) -> Result<Fate, AppError> {
    let Imported { mut draft, password_hash, roles: named } = wanted;
    draft.roles = roles_by_name(principal, roles, &named)?;
    let mut new = users::new_user(app, site, &draft).await?;
    new.password_hash = match password_hash {
        Some(hash) => {
            let wrong = |detail| AppError::field("/password_hash", "invalid", detail);
            imported_hash::check(hash.expose()).map_err(|error| wrong(error.to_string()))?;
            Some(hash)
        }
        None => None,
    };
    for name in [&new.email, &new.username].into_iter().flatten() {
        if let Some(found) = app.store.user_by_login(site.project, name).await? {
            return Ok(Fate::Present(found.id));
        }
    }
    let id = new.id;
    match users::make(app, principal, site, (new, &draft.roles), rehearsal).await {
        Ok(_) | Err(users::Unmade::Rehearsed) => Ok(Fate::Created(id)),
        Err(users::Unmade::Failed(error)) => Err(error),
    }
}

/// The roles of these names, each of which the caller may give.
fn roles_by_name(principal: &Principal, roles: &[Role], named: &[String]) -> Result<Vec<RoleId>, AppError> {
    if named.len() > MOST_ROLES {
        return Err(AppError::field("/roles", "range", format!("at most {MOST_ROLES}")));
    }
    let mut found = Vec::with_capacity(named.len());
    for (at, name) in named.iter().enumerate() {
        let role = roles.iter().find(|role| role.name == *name && role.scope == domain::snapshot::RoleScope::Tenant);
        let role = role.ok_or_else(|| AppError::field(format!("/roles/{at}"), "unknown", "there is no such role"))?;
        role_bindings::may_give(principal, role, None)?;
        if !found.contains(&role.id) {
            found.push(role.id);
        }
    }
    Ok(found)
}
