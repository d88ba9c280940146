//! A tenant's machine clients. Each acts as a user of its own, made and deleted with it: what it may do is bound to that user
//! (`/v1/role-bindings`), by who may give it.

use std::time::Duration;

use authz::{
    Authorized,
    action::{ManageMachineClients, ManageUsers},
};
use domain::{
    MachineClientId, Secret,
    audit::AuditEntry,
    model::{
        MachineClient, Membership, MembershipSource, MembershipStatus, NewMachineClient, NewUser, UserStatus, Version,
        api_key::{MAX_OVERLAP, OVERLAP},
        machine_client::MAX_NAME,
    },
};
use store::{
    Commit,
    list::{MachineClientList, Selection, Slice},
    read::*,
};

use super::{
    role_bindings::outranks,
    text,
    tokens::{hash, random_token},
};
use crate::{
    App,
    caller::{Principal, Site},
    context::new_id,
    error::AppError,
};

/// A page of a tenant's clients.
pub async fn list_machine_clients(
    app: &App,
    principal: &Principal,
    site: Site,
    asked: &Selection<MachineClientList>,
) -> Result<Slice<MachineClient>, AppError> {
    principal.may_in::<ManageMachineClients>(site, "list")?;
    Ok(app.store.within(site.scope()).list(site.tenant, asked).await?)
}

/// One client.
pub async fn read_machine_client(
    app: &App,
    principal: &Principal,
    id: MachineClientId,
) -> Result<MachineClient, AppError> {
    found(app, principal, id, "get").await.map(|(_, client)| client)
}

/// Makes a client, and the user it acts as, who may nothing yet. Its secret is given once.
///
/// # Errors
/// [`AppError::Invalid`] for its name.
pub async fn create_machine_client(
    app: &App,
    principal: &Principal,
    site: Site,
    name: String,
) -> Result<(MachineClient, Secret<String>, Commit), AppError> {
    let by = principal.may_in::<ManageMachineClients>(site, "create")?;
    text::named(&name, "")?;
    text::check("/name", &name, 1..=MAX_NAME)?;
    let secret = random_token()?;
    let id: MachineClientId = new_id(&*app.clock);
    let user = NewUser {
        id: new_id(&*app.clock),
        project_id: site.project,
        email: None,
        username: Some(format!("client-{id}")),
        first_name: name.clone(),
        last_name: String::new(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: None,
        must_change_password: false,
        is_break_glass: false,
    };
    let membership = Membership {
        id: new_id(&*app.clock),
        project_id: site.project,
        tenant_id: site.tenant,
        user_id: user.id,
        source: MembershipSource::Added,
        status: MembershipStatus::Active,
        default_ou_id: None,
        created_at: app.now(),
    };
    let new = NewMachineClient {
        id,
        project_id: site.project,
        tenant_id: site.tenant,
        user_id: user.id,
        name,
        secret_hash: Secret::new(hash(secret.expose())),
    };
    // Users of programs are nobody's to make but by this.
    let users_by = Authorized::<ManageUsers>::system("machine-client");
    let (by, users_by, user, membership, new) = (&by, &users_by, &user, &membership, &new);
    let made = app.store.write(by, app.now(), |tx| async move {
        let made = tx.insert_user(users_by, user.clone()).await?;
        let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::created(made.peek()) };
        tx.audit(entry, made).await?;
        tx.created(tx.insert_membership(users_by, membership.clone()).await?).await?;
        Ok::<_, AppError>(tx.created(tx.insert_machine_client(by, new.clone()).await?).await?)
    });
    let (client, commit) = made.await?;
    Ok((client, secret, commit))
}

/// Gives a client another secret, which is given once. The one it has is accepted for the overlap; without one, every token of
/// it is refused.
///
/// # Errors
/// [`AppError::Escalation`] for a client that may more than who asks. Of two that rotate it at once, one is told that it was changed
/// meanwhile.
pub async fn rotate_machine_client(
    app: &App,
    principal: &Principal,
    id: MachineClientId,
    version: Option<Version>,
    overlap: Option<Duration>,
) -> Result<(MachineClient, Secret<String>, Commit), AppError> {
    let (by, client) = found(app, principal, id, "rotate").await?;
    let site = site_of(&client);
    let overlap = overlap.unwrap_or(OVERLAP);
    if overlap > MAX_OVERLAP {
        return Err(AppError::field("/overlap", "range", "at most 7d are allowed"));
    }
    let now = app.now();
    let until = (!overlap.is_zero()).then(|| now + overlap);
    let secret = random_token()?;
    let hashed = &Secret::new(hash(secret.expose()));
    let (by, which) = (&by, (id, version.unwrap_or(client.version)));
    let rotated = app.store.write(by, now, |tx| async move {
        // Who rotates a secret has it.
        outranks(&tx, principal, site, client.user_id).await?;
        Ok::<_, AppError>(tx.done("rotated", tx.rotate_machine_client(by, which, hashed, until).await?).await?)
    });
    let (client, commit) = rotated.await?;
    Ok((client, secret, commit))
}

/// Deletes a client, and the user it acts as.
///
/// # Errors
/// [`AppError::NotFound`]; [`AppError::Escalation`] for a client that may more than who asks.
pub async fn delete_machine_client(app: &App, principal: &Principal, id: MachineClientId) -> Result<Commit, AppError> {
    let (by, client) = found(app, principal, id, "delete").await?;
    // Users of programs are nobody's to delete but by this.
    let users_by = &Authorized::<ManageUsers>::system("machine-client");
    let (by, site, user) = (&by, site_of(&client), client.user_id);
    let deleted = app.store.write(by, app.now(), |tx| async move {
        outranks(&tx, principal, site, user).await?;
        let gone = tx.deleted(tx.delete_machine_client(by, id).await?).await?;
        let change = tx.delete_user(users_by, user).await?;
        let entry = AuditEntry { tenant_id: Some(site.tenant), ..AuditEntry::deleted(change.peek()) };
        tx.audit(entry, change).await?;
        Ok::<_, AppError>(gone)
    });
    deleted.await.map(|(_, commit)| commit)
}

/// A client that the caller may do this to; any other does not exist for them.
async fn found(
    app: &App,
    principal: &Principal,
    id: MachineClientId,
    verb: &str,
) -> Result<(Authorized<ManageMachineClients>, MachineClient), AppError> {
    let reader =
        if principal.is_system() { app.store.clone() } else { app.store.within(principal.own_site()?.scope()) };
    let of_caller = |client: &MachineClient| principal.is_system() || client.tenant_id == principal.tenant;
    let client = reader.machine_client(id).await?.filter(of_caller).ok_or(AppError::NotFound("machine-client"))?;
    let by = principal.may_in(site_of(&client), verb)?;
    Ok((by, client))
}

fn site_of(client: &MachineClient) -> Site {
    Site { project: client.project_id, tenant: client.tenant_id }
}
