//! Signing in with what was sent to an address: a code, or a link. Where the project lets people in by themselves, the first sign-in
//! makes the account; asking for one makes nothing, and looks the same whoever has the address.

use authz::Scope;
use domain::{
    Secret, UserId,
    audit::{AuditEntry, Crud, Target},
    model::{AuthMethod, CodeKind, CodeShown, LoginMethod, TokenKind, User},
};
use serde_json::json;
use store::{SessionTx, read::*};

use super::{
    access_mode,
    letters::{self, About, Link},
    login::{self, Door},
    login_policies, own_email,
    sign_in::{FirstFactor, SignedIn, finish_sign_in},
    signup::{self, NewAccount},
    site::Realm,
    tokens::hash,
};
use crate::{
    App,
    context::{RequestContext, new_id},
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
};

/// Sends a code to sign in with to an address.
///
/// # Errors
/// [`AppError::SendCooldown`], [`AppError::RateLimited`]; [`AppError::Restricted`] where the tenant's people do not sign in so;
/// [`AppError::Conflict`] (`mail_unavailable`).
pub async fn request_code(app: &App, context: &RequestContext, email: &str) -> Result<(), AppError> {
    let (realm, email) = asked(app, context, LoginMethod::EmailCode, email).await?;
    // Showing codes is bounded by their own lock.
    app.admit_account(Rate::Passwordless, context, (realm.project.id, email)).await?;
    let (code, expires_at) = (letters::code()?, app.now() + app.config.identity.code.get());
    let letter = Letter::new(LetterKind::LoginCode, email).with("code", code.expose()).until(expires_at);
    let event = letter.event(app, realm.project.id, realm.tenant)?;
    let (realm, code, event) = (&realm, &code, &event);
    let sent = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            letters::turn(app, &tx, (realm.project.id, LetterKind::LoginCode), email).await?;
            // Kept whether or not it is sent: so wrong codes for an address that nobody has are counted as others.
            tx.put_one_time_code((realm.project.id, CodeKind::Email), email, code, expires_at).await?;
            if is_welcome(app, &tx, realm, email).await? {
                tx.leave(event).await?;
                tx.record(&letters::nobody(), &origin, &event_of("login_code_requested", realm, None)).await?;
            }
            Ok::<_, AppError>(())
        }
    });
    sent.await
}

/// Sends a link to sign in with to an address.
///
/// # Errors
/// As [`request_code`].
pub async fn request_link(app: &App, context: &RequestContext, email: &str) -> Result<(), AppError> {
    let (realm, email) = asked(app, context, LoginMethod::MagicLink, email).await?;
    app.admit_account(Rate::Passwordless, context, (realm.project.id, email)).await?;
    let user = letters::reader(&app.store, realm.project.id, email).await?;
    let about = About {
        kind: TokenKind::Magic,
        letter: LetterKind::MagicLink,
        page: "/auth/magic-link",
        user: user.map(|user| user.id),
        email,
        payload: json!({}),
        life: app.config.identity.code.get(),
    };
    let link = Link::new(app, &realm, about).await?;
    let (realm, link) = (&realm, &link);
    let sent = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            letters::turn(app, &tx, (realm.project.id, LetterKind::MagicLink), email).await?;
            if is_welcome(app, &tx, realm, email).await? {
                link.send(&tx).await?;
                tx.record(&letters::nobody(), &origin, &event_of("magic_link_requested", realm, None)).await?;
            }
            Ok::<_, AppError>(())
        }
    });
    sent.await
}

/// Signs in with a code that was sent.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] for a wrong code, and for an address to which none was sent; [`AppError::LoginLocked`] after too
/// many; what the user's or tenant's state says.
pub async fn verify_code(
    app: &App,
    context: &RequestContext,
    (email, code): (&str, &Secret<String>),
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let (realm, email) = asked(app, context, LoginMethod::EmailCode, email).await?;
    let undecided = undecided(app, &realm, email, tenant).await?;
    let (realm, undecided) = (&realm, &undecided);
    let shown = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let key = (realm.project.id, CodeKind::Email);
            match tx.show_one_time_code(key, email, code, app.config.identity.guesses()).await? {
                CodeShown::Locked(until) => {
                    Err(AppError::LoginLocked { retry_after: until.since(app.now()).as_secs().max(1) })
                }
                CodeShown::Wrong => {
                    // Committed: it is counted.
                    let entry = event_of("login_failure", realm, None).failed();
                    tx.record(&letters::nobody(), &origin, &entry).await?;
                    Ok(None)
                }
                // Told to its holder, who asks again with it: it is not used up.
                CodeShown::Right if !undecided.is_empty() => Err(AppError::TenantRequired { slugs: undecided.clone() }),
                CodeShown::Right => read_by(app, &tx, (realm, &origin), email).await.map(Some),
            }
        }
    });
    let known = shown.await?.ok_or(AppError::CredentialsInvalid)?;
    finish(app, context, realm, (known, email), AuthMethod::EmailCode, tenant).await
}

/// Signs in with a link that was sent. Of those who show it at once, one.
///
/// # Errors
/// [`AppError::LinkInvalid`]; what the user's or tenant's state says.
pub async fn redeem_link(
    app: &App,
    context: &RequestContext,
    token: &Secret<String>,
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let realm = letters::place(app, context, Rate::Passwordless).await?;
    allowed(app, &realm, LoginMethod::MagicLink).await?;
    let (realm, shown) = (&realm, hash(token.expose()));
    let found = app.store.one_time_token(TokenKind::Magic, shown).await?;
    // One of another project's is not used up here.
    let found = found.filter(|it| it.project_id == realm.project.id && it.expires_at > app.now());
    let undecided = undecided(app, realm, &found.ok_or(AppError::LinkInvalid)?.email, tenant).await?;
    if !undecided.is_empty() {
        return Err(AppError::TenantRequired { slugs: undecided });
    }
    let used = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let used = tx.use_one_time_token(TokenKind::Magic, shown).await?.ok_or(AppError::LinkInvalid)?;
            let known = read_by(app, &tx, (realm, &origin), &used.email).await?;
            // Who has the address now is not whom it was sent to.
            if known.as_ref().map(|user| user.id) != used.user_id && used.user_id.is_some() {
                return Err(AppError::LinkInvalid);
            }
            Ok::<_, AppError>((known, used.email))
        }
    });
    let (known, email) = used.await?;
    finish(app, context, realm, (known, &email), AuthMethod::MagicLink, tenant).await
}

/// The tenants of which one is to be named before a session can be opened; none where that is clear.
async fn undecided(app: &App, realm: &Realm, email: &str, named: Option<&str>) -> Result<Vec<String>, AppError> {
    if realm.tenant.is_some() || named.is_some() {
        return Ok(Vec::new());
    }
    let Some(user) = letters::reader(&app.store, realm.project.id, email).await? else { return Ok(Vec::new()) };
    match login::tenant(app, realm, &user, None).await {
        Err(AppError::TenantRequired { slugs }) => Ok(slugs),
        Ok(_) | Err(_) => Ok(Vec::new()),
    }
}

/// Where something is asked for or shown, and the address.
async fn asked<'e>(
    app: &App,
    context: &RequestContext,
    method: LoginMethod,
    email: &'e str,
) -> Result<(Realm, &'e str), AppError> {
    let realm = letters::place(app, context, Rate::Passwordless).await?;
    app.mail_ready()?;
    let email = letters::address(email)?;
    allowed(app, &realm, method).await?;
    Ok((realm, email))
}

/// Told to everybody alike, before anything is sent.
async fn allowed(app: &App, realm: &Realm, method: LoginMethod) -> Result<(), AppError> {
    match realm.tenant {
        Some(tenant) => login_policies::allows(app, tenant, method).await,
        None => Ok(()),
    }
}

/// Whether something is sent to an address: it has an account, or may get one here.
async fn is_welcome(app: &App, tx: &SessionTx, realm: &Realm, email: &str) -> Result<bool, AppError> {
    match tx.user_by_login(realm.project.id, email).await? {
        Some(known) => Ok(letters::may_be_written_to(&known)),
        None if realm.tenant.is_none() || access_mode::admits(&realm.project, email).is_err() => Ok(false),
        None => letters::strangers_turn(app, tx, email).await,
    }
}

/// Whose address was shown to be read, which is thereby proven; none where nobody has it.
async fn read_by(
    app: &App,
    tx: &SessionTx,
    (realm, origin): (&Realm, &domain::audit::Origin),
    email: &str,
) -> Result<Option<User>, AppError> {
    let Some(known) = tx.user_by_login(realm.project.id, email).await? else { return Ok(None) };
    if !letters::may_be_written_to(&known) {
        return Ok(Some(known));
    }
    let proven = own_email::prove(app, tx, (realm, origin), &known, email, false).await?;
    Ok(Some(proven.unwrap_or(known)))
}

/// Opens the session of who showed that they read an address, or asks for a second factor.
async fn finish(
    app: &App,
    context: &RequestContext,
    realm: &Realm,
    (known, email): (Option<User>, &str),
    method: AuthMethod,
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let user = match known {
        Some(user) if user.is_break_glass => return Err(AppError::CredentialsInvalid),
        Some(user) => user,
        None => {
            let id = made(app, context, realm, email).await?;
            app.store.user(id).await?.ok_or(AppError::CredentialsInvalid)?
        }
    };
    let tenant = login::tenant(app, realm, &user, tenant).await?;
    let way = if method == AuthMethod::MagicLink { LoginMethod::MagicLink } else { LoginMethod::EmailCode };
    login_policies::allows(app, tenant.id, way).await?;
    let first = FirstFactor::new(Door::Tenant, method);
    finish_sign_in(app, context, first, &realm.project, &tenant, &user).await
}

/// The account of an address that had none. What says no says it as to a wrong code: whether accounts are made is told when asking.
async fn made(app: &App, context: &RequestContext, realm: &Realm, email: &str) -> Result<UserId, AppError> {
    access_mode::admits(&realm.project, email).map_err(|_| AppError::CredentialsInvalid)?;
    let id = new_id(&*app.clock);
    let new = NewAccount {
        id,
        email: email.to_owned(),
        password_hash: None,
        names: (String::new(), String::new()),
        place: signup::home(realm).map_err(|_| AppError::CredentialsInvalid)?,
        passkey: None,
        proven: true,
        identity: None,
    };
    signup::make(app, context, &realm.project, new, None).await?;
    Ok(id)
}

fn event_of(happened: &str, realm: &Realm, user: Option<&User>) -> AuditEntry {
    let id = user.map(|user| user.id.to_string()).unwrap_or_default();
    AuditEntry {
        action: happened.into(),
        crud: Crud::C,
        target: Target { kind: "user".into(), id, name: String::new() },
        project_id: Some(realm.project.id),
        tenant_id: realm.tenant,
        is_failure: false,
        fields: json!({}),
    }
}
