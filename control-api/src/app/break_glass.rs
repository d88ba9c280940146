//! Emergency administrators: one for each customer, who can sign in when nothing but SQL is up.
//!
//! They are set up and set up anew by a command on the machine, never over the network. They sign in on `admin` alone, with
//! a password that is good for nothing else and a code (RFC 6238), for an hour at most, and the alert is in the
//! transaction that opens the session: no alert, no session. They cannot be deleted, and disabled only while somebody else
//! administers the tenant.

use std::time::Duration;

use authz::{Authorized, action::ManageBreakGlass};
use domain::{
    CustomerId, GroupId, RoleId, Secret, UserId,
    model::{AuthMethod, BreakGlass, Customer, NewBreakGlass, NewUser, Tenant, UserStatus, builtin},
};
use store::{Administrators, Audited, Commit, LoginSubject, Page, read::*};

use super::{
    first_administrator::FirstAdministrator,
    login::{self, Door},
    new_tenant,
    sign_in::{self, Opening, Proof, SignedIn},
    totp::new_secret,
    users,
};
use crate::{
    App,
    caller::{Principal, Site},
    context::{RequestContext, new_id},
    error::AppError,
    totp::Codes,
};

/// How long a session lives at most.
const SESSION: Duration = Duration::from_secs(3600);

/// What authenticators call this installation.
const ISSUER: &str = "Portcullis";

/// What an emergency administrator shows.
#[derive(Debug)]
pub struct Emergency {
    /// Code of the customer.
    pub customer: String,
    /// Password.
    pub password: Secret<String>,
    /// Six digits.
    pub code: Secret<String>,
}

/// Signs an emergency administrator in.
///
/// # Errors
/// [`AppError::CredentialsInvalid`], whatever is wrong; [`AppError::LoginLocked`].
pub async fn sign_in(app: &App, context: &RequestContext, shown: Emergency) -> Result<SignedIn, AppError> {
    let root = app.store.root_project().await?.ok_or(AppError::NotFound("project"))?;
    let known = match app.store.customer_by_code(&shown.customer).await? {
        Some(customer) => app.store.break_glass(customer.id).await?.map(|known| (customer, known)),
        None => None,
    };
    let (project, subject) = match &known {
        Some((_, known)) => (known.project_id, LoginSubject::Direct(known.user_id)),
        // A customer that nobody has is counted and locked as one that is there.
        None => (
            root.id,
            LoginSubject::Name(format!("break-glass {}", shown.customer.chars().take(63).collect::<String>())),
        ),
    };
    let project = app.store.project(project).await?.ok_or(AppError::NotFound("project"))?;
    let _turn = login::turn(app, &project, &subject).await?;
    let stored = known.as_ref().map(|(_, known)| known.password_hash.clone());
    let right = app.passwords.verify(shown.password, stored).await?;
    let step = match &known {
        Some((customer, known)) if right && known.disabled_at.is_none() => {
            let secret = app.store.break_glass_secret(customer.id).await?;
            let codes = secret.map(|secret| Codes::of(&secret)).transpose()?;
            let step =
                codes.and_then(|codes| codes.step_of(shown.code.expose(), app.now(), app.config.second_factor.window));
            step.filter(|step| *step > known.last_step)
        }
        Some(_) | None => None,
    };
    let (Some((customer, known)), Some(step)) = (known, step) else {
        login::fail(app, context, &project, &subject).await?;
        return Err(AppError::CredentialsInvalid);
    };
    let tenant = app.store.tenant(known.tenant_id).await?.ok_or(AppError::CredentialsInvalid)?;
    let user = app.store.user(known.user_id).await?.ok_or(AppError::CredentialsInvalid)?;
    let opening = Opening {
        door: if customer.is_root { Door::System } else { Door::Tenant },
        method: AuthMethod::BreakGlass,
        amr: AuthMethod::BreakGlass.amr(),
        life: SESSION.min(app.config.sessions.session.get()),
        proof: Proof::BreakGlass(&known, step),
        event: "break-glass.login",
    };
    let pair = sign_in::open(app, context, opening, &project, &tenant, &user).await?;
    tracing::warn!(customer.code = customer.code, tenant.id = %tenant.id, "an emergency administrator signed in");
    Ok(pair)
}

/// What is known of a customer's emergency administrator; none before one was set up.
pub async fn read_break_glass(
    app: &App,
    principal: &Principal,
    customer: CustomerId,
) -> Result<Option<BreakGlass>, AppError> {
    principal.may::<ManageBreakGlass>("get")?;
    app.store.customer(customer).await?.ok_or(AppError::NotFound("customer"))?;
    Ok(app.store.break_glass(customer).await?)
}

/// Lets a customer's emergency administrator sign in, or no more. Off only while somebody else administers the tenant.
pub async fn switch_break_glass(
    app: &App,
    principal: &Principal,
    customer: CustomerId,
    on: bool,
) -> Result<(BreakGlass, Commit), AppError> {
    let (verb, past) = if on { ("enable", "enabled") } else { ("disable", "disabled") };
    let by = principal.may::<ManageBreakGlass>(verb)?;
    let by = &by;
    app.store
        .write(by, app.now(), |tx| async move {
            tx.customer(customer).await?.ok_or(AppError::NotFound("customer"))?;
            let known = tx.break_glass(customer).await?.ok_or(AppError::NotFound("break-glass"))?;
            if !on && !tx.is_administered(known.tenant_id, Administrators::WithPassword).await? {
                let detail = "nobody else could administer the tenant".to_owned();
                return Err(AppError::Conflict { code: "break_glass_needed", detail });
            }
            match tx.switch_break_glass(by, customer, on).await? {
                Ok(change) => Ok(tx.done(past, change).await?),
                Err(unchanged) => Ok(Audited::unchanged(unchanged)),
            }
        })
        .await
}

/// An emergency administrator is there for the day on which the tenant's own cannot be trusted: these change nothing of
/// theirs. Staff may, and they themselves.
///
/// # Errors
/// [`AppError::Conflict`] (`user_is_break_glass`).
pub(super) async fn spare(reader: &impl BreakGlasses, principal: &Principal, user: UserId) -> Result<(), AppError> {
    let own = principal.is_system() || principal.user == user;
    if !own && reader.break_glass_of_user(user).await?.is_some() { Err(kept()) } else { Ok(()) }
}

/// The same of a group that one is in, and of what is bound to it.
///
/// # Errors
/// As [`spare`].
pub(super) async fn spare_group(
    reader: &impl Groups,
    principal: &Principal,
    site: Site,
    group: GroupId,
) -> Result<(), AppError> {
    if !principal.is_system() && reader.has_break_glass((site.tenant, group)).await? { Err(kept()) } else { Ok(()) }
}

/// The same of a role that one holds.
///
/// # Errors
/// As [`spare`].
pub(super) async fn spare_role(
    reader: &impl RoleBindings,
    principal: &Principal,
    role: RoleId,
) -> Result<(), AppError> {
    if !principal.is_system() && reader.is_held_by_break_glass(role).await? { Err(kept()) } else { Ok(()) }
}

/// Refuses a credential by which one could act beyond their session: nobody may give them any.
///
/// # Errors
/// As [`spare`].
pub(super) async fn without_credentials(reader: &impl BreakGlasses, user: UserId) -> Result<(), AppError> {
    if reader.break_glass_of_user(user).await?.is_some() { Err(kept()) } else { Ok(()) }
}

fn kept() -> AppError {
    let detail = "what is the emergency administrator's is kept as it is".to_owned();
    AppError::Conflict { code: "user_is_break_glass", detail }
}

/// What is shown once to whoever sets an emergency administrator up.
#[derive(Debug)]
pub struct SetUp {
    /// User name, as the audit trail shows it.
    pub username: String,
    /// Password.
    pub password: Secret<String>,
    /// The secret that codes are made of, as authenticators take it (base32, RFC 4648 §6).
    pub secret: Secret<String>,
    /// The same with whose it is, as authenticators read it.
    pub url: Secret<String>,
}

/// Sets a customer's emergency administrator up, or up anew: for the command on the machine.
///
/// # Errors
/// [`AppError::NotFound`] without such a customer; [`AppError::Conflict`] (`break_glass_no_tenant`) for one without a
/// tenant to administer.
pub async fn set_up(app: &App, job: &'static str, customer: &str) -> Result<SetUp, AppError> {
    let customer = app.store.customer_by_code(customer).await?.ok_or(AppError::NotFound("customer"))?;
    let password = new_tenant::one_time_password()?;
    let secret = new_secret()?;
    let codes = Codes::of(&secret)?;
    let password_hash = app.passwords.hash(password.clone()).await?;
    let known = app.store.break_glass(customer.id).await?;
    let tenant = match &known {
        Some(known) => app.store.tenant(known.tenant_id).await?.ok_or(AppError::NotFound("tenant"))?,
        None => home(app, &customer).await?,
    };
    let user = new_user(app, &customer, &tenant);
    let username = user.username.clone().unwrap_or_default();
    let role = if customer.is_root { builtin::PLATFORM_ADMIN } else { builtin::OWNER };
    let new = NewBreakGlass {
        customer_id: customer.id,
        user_id: known.as_ref().map_or(user.id, |known| known.user_id),
        project_id: tenant.project_id,
        tenant_id: tenant.id,
        password_hash,
        totp_secret: secret,
    };
    let by = Authorized::<ManageBreakGlass>::system(job);
    let admin = FirstAdministrator::by_job(app, user, (tenant.id, role), job);
    let (by, new, known, admin) = (&by, &new, &known, &admin);
    let written = app.store.write(by, app.now(), |tx| async move {
        if known.is_none() {
            admin.insert(&tx).await?;
        }
        Ok::<_, AppError>(tx.done("set_up", tx.set_up_break_glass(by, new.clone()).await?).await?)
    });
    written.await?;
    // Whoever locked them by guessing shall not keep them out.
    users::forget_failures(app, new.project_id, new.user_id).await?;
    let url = codes.url(ISSUER, &customer.code);
    Ok(SetUp { username, password, secret: codes.base32(), url })
}

/// The tenant that a customer's emergency administrator administers: its first.
async fn home(app: &App, customer: &Customer) -> Result<Tenant, AppError> {
    let tenants = app.store.tenants_of_customer(customer.id, Page::FIRST).await?;
    let first = tenants.into_iter().min_by_key(|tenant| (tenant.created_at, tenant.id));
    first.ok_or_else(|| AppError::Conflict {
        code: "break_glass_no_tenant",
        detail: format!("customer `{}` has no tenant to administer", customer.code),
    })
}

/// Without a password among users: no other sign-in takes them.
fn new_user(app: &App, customer: &Customer, tenant: &Tenant) -> NewUser {
    NewUser {
        id: new_id(&*app.clock),
        project_id: tenant.project_id,
        email: None,
        username: Some(format!("break-glass-{}", customer.id)),
        first_name: String::new(),
        last_name: String::new(),
        phone: None,
        external_id: None,
        status: UserStatus::Active,
        password_hash: None,
        must_change_password: false,
        is_break_glass: true,
    }
}
