//! Phone numbers: proven by a code that is sent to them, and signed in with by one.
//!
//! Who has signed in proves a number of their own; who has not signs in with one that was proven before, within `sms.proven_for`. A
//! text costs money, and who is paid for it may be the one who asks: nothing is sent to countries that the operator has not named, nor
//! beyond what is set for a number, what numbers begin with, a user, a project and all of them. What is counted is what is left in the
//! outbox; that a bound is reached is told to operators and in the trail, and to nobody who asks, so that asking looks the same
//! whoever has the number.

use std::time::Duration;

use authz::Scope;
use domain::{
    PhoneNumber, ProjectId, Secret, Timestamp,
    audit::{AuditEntry, Crud, Target},
    model::{AuthMethod, CodeKind, CodeShown, LoginMethod, MailPace, MailTurn, Project, User},
    outbox::NewOutboxEvent,
};
use serde_json::json;
use store::{PhoneProven, SessionTx, SpentBound, TextBound, read::*};

use super::{
    factor_notices::{self, FactorChange},
    letters::{self, oneself, told},
    login::{self, Door},
    login_policies, own_password, passkeys,
    sign_in::{FirstFactor, Proof, SignedIn, finish_sign_in},
    site::Realm,
    totp,
};
use crate::{App, caller::Principal, context::RequestContext, error::AppError, rates::Rate, sms::Text};

/// A number's pace, when it is signed in with.
const CODES: &str = "phone_code";

/// And when it is to be proven.
const PROOFS: &str = "phone_proof";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Who changes their number: somebody who signed in a moment ago, and has shown a second factor where they have one. It is a way to
/// sign in, and a token that somebody found adds none and takes none away.
async fn own(app: &App, principal: &Principal) -> Result<(Project, User), AppError> {
    totp::recent(app, principal).await?;
    let (project, user) = own_password::own(app, principal).await?;
    if user.is_break_glass || project.is_root() {
        return Err(AppError::Restricted { code: "login_method_refused", detail: "this account signs in by no phone" });
    }
    passkeys::sure_enough(&app.store, principal).await?;
    Ok((project, user))
}

/// Sends a code to a number that the caller says is theirs.
///
/// # Errors
/// [`AppError::Invalid`] for no number; [`AppError::Restricted`] (`phone_country_refused`); [`AppError::SendCooldown`],
/// [`AppError::RateLimited`]; [`AppError::Conflict`] (`sms_unavailable`); [`AppError::StepUp`], [`AppError::SignInAnew`].
pub async fn request_proof(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    phone: &str,
) -> Result<(), AppError> {
    app.admit_address(Rate::Phone, context).await?;
    let number = &sendable(app, phone)?;
    let (project, user) = own(app, principal).await?;
    let code = &letters::code()?;
    let expires_at = app.now() + app.config.sms.code.get();
    let event = &Text::code(number, &project.name, code, expires_at).event(app, project.id, Some(principal.tenant))?;
    let subject = &subject(&user, number);
    let entry = |happened: &str, fields| told(happened, &project, Some(principal.tenant), &user, fields);
    let entry = &entry;
    let sent = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let (origin, actor) = (context.origin(), oneself(&user));
        let (project, user) = (project.id, user.id.to_string());
        async move {
            turn(app, &tx, (project, PROOFS), subject).await?;
            let own = TextBound { of: "user", which: user, within: DAY, most: app.config.sms.user_a_day };
            let bounds = [vec![own], bounds(app, project, "proof", number)].concat();
            let spent = tx.count_text(&bounds).await?;
            if let Some(spent) = spent {
                if spent.first {
                    tx.record(&actor, &origin, &entry("sms_budget_spent", of_spent(spent, number))).await?;
                }
                return Ok::<_, AppError>(Some(spent));
            }
            tx.put_one_time_code((project, CodeKind::Phone), subject, code, expires_at).await?;
            tx.leave(event).await?;
            tx.record(&actor, &origin, &entry("phone_requested", masked(number))).await?;
            Ok(None)
        }
    });
    let Some(spent) = sent.await? else { return Ok(()) };
    tell(spent, project.id);
    // What is theirs alone is told; the rest is not only theirs to know.
    if spent.of == "user" { Err(AppError::SendCooldown { retry_after: DAY.as_secs() }) } else { Ok(()) }
}

/// Notes that a number is the caller's, who shows the code that was sent to it.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] for a wrong code; [`AppError::LoginLocked`] after too many; [`AppError::Conflict`] (`phone_taken`)
/// for a number that another account has: told to who reads it; [`AppError::StepUp`], [`AppError::SignInAnew`].
pub async fn prove(
    app: &App,
    context: &RequestContext,
    principal: &Principal,
    (phone, code): (&str, &Secret<String>),
) -> Result<PhoneNumber, AppError> {
    app.admit_address(Rate::Phone, context).await?;
    let number = &read(phone)?;
    let (project, user) = own(app, principal).await?;
    let (subject, since) = (&subject(&user, number), counts_since(app));
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::PhoneAdded)?;
    let entry = &told("phone_verified", &project, Some(principal.tenant), &user, masked(number));
    let failure = &told("phone_refused", &project, Some(principal.tenant), &user, masked(number)).failed();
    let lapsed = &event_of("phone_lapsed", (project.id, None), number);
    let shown = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let (origin, actor) = (context.origin(), oneself(&user));
        let (project, user) = (project.id, user.id);
        async move {
            match tx
                .show_one_time_code((project, CodeKind::Phone), subject, code, app.config.identity.guesses())
                .await?
            {
                CodeShown::Locked(until) => {
                    Err(AppError::LoginLocked { retry_after: until.since(app.now()).as_secs().max(1) })
                }
                // Committed: it is counted.
                CodeShown::Wrong => {
                    tx.record(&actor, &origin, failure).await?;
                    Ok(Err(AppError::CredentialsInvalid))
                }
                CodeShown::Right => {
                    tx.hold_factors(user).await?;
                    // Since it was asked before, a factor may have been added elsewhere.
                    passkeys::sure_enough(&tx, principal).await?;
                    let proven = tx.prove_phone((project, user), number, since).await;
                    let proven = proven.map_err(|error| match error {
                        taken if taken.is_conflict("phone_numbers", "number") => phone_taken(),
                        other => other.into(),
                    })?;
                    match proven {
                        PhoneProven::Taken => return Ok(Err(phone_taken())),
                        PhoneProven::Now => {}
                        PhoneProven::Lapsed(of) => {
                            let mut entry = lapsed.clone();
                            entry.target.id = of.to_string();
                            tx.record(&actor, &origin, &entry).await?;
                        }
                    }
                    if let Some(notice) = notice {
                        tx.leave(notice).await?;
                    }
                    tx.record(&actor, &origin, entry).await?;
                    Ok::<_, AppError>(Ok(()))
                }
            }
        }
    });
    shown.await??;
    Ok(number.clone())
}

/// Has the caller have no proven number. Every other session of theirs ends: one of them may be what it opened on a device that is lost.
///
/// # Errors
/// [`AppError::NotFound`] for who has none; [`AppError::Store`] (`last_credential`) for what alone signs them in; [`AppError::StepUp`],
/// [`AppError::SignInAnew`].
pub async fn drop_phone(app: &App, context: &RequestContext, principal: &Principal) -> Result<(), AppError> {
    let (project, user) = own(app, principal).await?;
    let notice = &factor_notices::notice(app, &project, &user, FactorChange::PhoneRemoved)?;
    let (project, user) = (&project, &user);
    let dropped = app.store.write_session(Scope::Project(project.id), app.now(), |tx| {
        let (origin, actor) = (context.origin(), oneself(user));
        async move {
            let ended = tx.end_other_sessions(user.id, principal.session, "phone_removed").await?;
            tx.hold_factors(user.id).await?;
            passkeys::sure_enough(&tx, principal).await?;
            if !tx.drop_phone(user.id).await? {
                return Err(AppError::NotFound("phone"));
            }
            if let Some(notice) = notice {
                tx.leave(notice).await?;
            }
            let fields = json!({ "sessions_ended": ended.len() });
            let entry = told("phone_removed", project, Some(principal.tenant), user, fields);
            Ok(tx.record(&actor, &origin, &entry).await?)
        }
    });
    dropped.await
}

/// Sends a code to sign in with to a number. The answer is the same whoever has it.
///
/// # Errors
/// [`AppError::Invalid`] for no number; [`AppError::Restricted`] (`phone_country_refused`), also where the tenant's people do not sign
/// in so; [`AppError::SendCooldown`], [`AppError::RateLimited`]; [`AppError::Conflict`] (`sms_unavailable`).
pub async fn request_code(app: &App, context: &RequestContext, phone: &str) -> Result<(), AppError> {
    let realm = &letters::place(app, context, Rate::Phone).await?;
    let number = &sendable(app, phone)?;
    allowed(app, realm).await?;
    app.admit_account(Rate::Phone, context, (realm.project.id, number.as_str())).await?;
    let (code, since) = (&letters::code()?, counts_since(app));
    let expires_at = app.now() + app.config.sms.code.get();
    let event: &NewOutboxEvent =
        &Text::code(number, &realm.project.name, code, expires_at).event(app, realm.project.id, realm.tenant)?;
    let sent = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            turn(app, &tx, (realm.project.id, CODES), number.as_str()).await?;
            // Wrong codes for a number that nobody has are counted as others; and a code that is not sent replaces none that was.
            let key = (realm.project.id, CodeKind::PhoneLogin);
            let known = tx.user_by_phone(realm.project.id, number, since).await?;
            if !known.is_some_and(|user| letters::may_be_written_to(&user)) {
                tx.count_guesses(key, number.as_str(), expires_at).await?;
                return Ok::<_, AppError>(None);
            }
            let spent = tx.count_text(&bounds(app, realm.project.id, "sign_in", number)).await?;
            let mut entry = event_of("phone_code_requested", (realm.project.id, realm.tenant), number);
            match spent {
                None => {
                    tx.put_one_time_code(key, number.as_str(), code, expires_at).await?;
                    tx.leave(event).await?;
                }
                Some(spent) => {
                    tx.count_guesses(key, number.as_str(), expires_at).await?;
                    entry.action = "sms_budget_spent".into();
                    entry.fields = of_spent(spent, number);
                }
            }
            if spent.is_none_or(|spent| spent.first) {
                tx.record(&letters::nobody(), &origin, &entry).await?;
            }
            Ok(spent)
        }
    });
    if let Some(spent) = sent.await? {
        tell(spent, realm.project.id);
    }
    Ok(())
}

/// Signs in with a code that was sent to a number.
///
/// # Errors
/// [`AppError::CredentialsInvalid`] for a wrong code, and for a number that is nobody's; [`AppError::LoginLocked`] after too many; what
/// the user's or tenant's state says.
pub async fn sign_in(
    app: &App,
    context: &RequestContext,
    (phone, code): (&str, &Secret<String>),
    tenant: Option<&str>,
) -> Result<SignedIn, AppError> {
    let realm = &letters::place(app, context, Rate::Phone).await?;
    let number = &read(phone)?;
    allowed(app, realm).await?;
    let undecided = &undecided(app, realm, number, tenant).await?;
    let since = counts_since(app);
    let shown = app.store.write_session(Scope::Project(realm.project.id), app.now(), |tx| {
        let origin = context.origin();
        async move {
            let key = (realm.project.id, CodeKind::PhoneLogin);
            match tx.show_one_time_code(key, number.as_str(), code, app.config.identity.guesses()).await? {
                CodeShown::Locked(until) => {
                    Err(AppError::LoginLocked { retry_after: until.since(app.now()).as_secs().max(1) })
                }
                CodeShown::Wrong => {
                    // Committed: it is counted.
                    let entry = event_of("login_failure", (realm.project.id, realm.tenant), number).failed();
                    tx.record(&letters::nobody(), &origin, &entry).await?;
                    Ok(None)
                }
                // Told to its holder, who asks again with it: it is not used up.
                CodeShown::Right if !undecided.is_empty() => Err(AppError::TenantRequired { slugs: undecided.clone() }),
                CodeShown::Right => Ok(tx.user_by_phone(realm.project.id, number, since).await?),
            }
        }
    });
    let known = shown.await?.filter(|user| !user.is_break_glass).ok_or(AppError::CredentialsInvalid)?;
    let tenant = login::tenant(app, realm, &known, tenant).await?;
    login_policies::allows(app, tenant.id, LoginMethod::PhoneCode).await?;
    let first = FirstFactor { door: Door::Tenant, method: AuthMethod::PhoneCode, proof: Proof::Phone(number, since) };
    finish_sign_in(app, context, first, &realm.project, &tenant, &known).await
}

/// Told to everybody alike, before anything is sent.
async fn allowed(app: &App, realm: &Realm) -> Result<(), AppError> {
    match realm.tenant {
        Some(tenant) => login_policies::allows(app, tenant, LoginMethod::PhoneCode).await,
        None => Ok(()),
    }
}

/// The tenants of which one is to be named before a session can be opened; none where that is clear.
async fn undecided(
    app: &App,
    realm: &Realm,
    number: &PhoneNumber,
    named: Option<&str>,
) -> Result<Vec<String>, AppError> {
    if realm.tenant.is_some() || named.is_some() {
        return Ok(Vec::new());
    }
    let found = app.store.user_by_phone(realm.project.id, number, counts_since(app)).await?;
    let Some(user) = found else { return Ok(Vec::new()) };
    match login::tenant(app, realm, &user, None).await {
        Err(AppError::TenantRequired { slugs }) => Ok(slugs),
        Ok(_) | Err(_) => Ok(Vec::new()),
    }
}

fn read(phone: &str) -> Result<PhoneNumber, AppError> {
    phone.parse().map_err(|error: domain::PhoneNumberError| AppError::field("/phone", "invalid", error.to_string()))
}

/// A number that may be written to: of a country that the operator has named.
fn sendable(app: &App, phone: &str) -> Result<PhoneNumber, AppError> {
    app.sms_ready()?;
    let number = read(phone)?;
    if app.config.sms.reaches(&number) {
        return Ok(number);
    }
    let detail = "this installation sends no texts to that country";
    Err(AppError::Restricted { code: "phone_country_refused", detail })
}

/// Takes a turn to be asked for a code, in a project. Counted whether or not one is sent.
async fn turn(app: &App, tx: &SessionTx, place: (ProjectId, &str), subject: &str) -> Result<(), AppError> {
    let pace = MailPace { cooldown: app.config.sms.cooldown.get(), a_day: app.config.sms.number_a_day };
    match tx.take_mail_turn(place, subject, pace).await? {
        MailTurn::Now => Ok(()),
        MailTurn::Wait(until) => Err(AppError::SendCooldown { retry_after: until.since(app.now()).as_secs().max(1) }),
    }
}

/// What a text to a number is counted by. Codes that prove a number take nothing from those that it signs in with: whoever has any
/// account asks for the former.
fn bounds(app: &App, project: ProjectId, purpose: &str, number: &PhoneNumber) -> Vec<TextBound> {
    let config = &app.config.sms;
    let bound = |of, which, within, most| TextBound { of, which, within, most };
    vec![
        bound("number", format!("{purpose}:{number}"), DAY, config.number_a_day),
        bound("prefix", number.prefix().to_owned(), HOUR, config.prefix_an_hour),
        bound("project", project.to_string(), DAY, config.project_a_day),
        bound("all", String::new(), DAY, config.all_a_day),
    ]
}

/// Tells operators that no texts are sent for now; of a number and a user, the trail is enough.
fn tell(spent: SpentBound, project: ProjectId) {
    if spent.first && !matches!(spent.of, "number" | "user") {
        tracing::error!(sms.bound = spent.of, project.id = %project, "texts are not sent for now: a bound is reached");
    }
}

/// Since when a proof of a number counts.
fn counts_since(app: &App) -> Timestamp {
    app.now() - app.config.sms.proven_for.get()
}

/// Under which a code to prove a number is kept: one user's is no other's.
fn subject(user: &User, number: &PhoneNumber) -> String {
    format!("{}:{number}", user.id)
}

fn masked(number: &PhoneNumber) -> serde_json::Value {
    json!({ "phone": number.masked() })
}

fn phone_taken() -> AppError {
    AppError::Conflict { code: "phone_taken", detail: "another account has this number".to_owned() }
}

fn of_spent(spent: SpentBound, number: &PhoneNumber) -> serde_json::Value {
    json!({ "bound": spent.of, "phone": number.masked() })
}

fn event_of(
    happened: &str,
    (project, tenant): (ProjectId, Option<domain::TenantId>),
    number: &PhoneNumber,
) -> AuditEntry {
    AuditEntry {
        action: happened.into(),
        crud: Crud::C,
        target: Target { kind: "user".into(), id: String::new(), name: String::new() },
        project_id: Some(project),
        tenant_id: tenant,
        is_failure: false,
        fields: masked(number),
    }
}
