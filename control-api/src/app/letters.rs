//! What is sent to an address and shown once: how it is made, and how often. Nothing here tells whether anybody has the address.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use domain::{
    ProjectId, Secret, TenantId, UserId,
    audit::{Actor, ActorKind, AuditEntry, Crud, Target},
    model::{MailTurn, OneTimeToken, Project, ProjectKind, TokenKind, User, UserStatus},
    outbox::NewOutboxEvent,
};
use serde_json::Value;
use store::{SessionTx, read::*};

use super::{
    links,
    site::{self, Realm},
    tokens::{hash, random_token},
    users,
};
use crate::{
    App,
    context::RequestContext,
    error::AppError,
    mail::letter::{Letter, LetterKind},
    rates::Rate,
};

/// Digits of a code.
const DIGITS: usize = 6;

/// A link that is about to be sent.
#[derive(Debug)]
pub(super) struct Link {
    /// What is kept of it.
    pub(super) token: OneTimeToken,
    /// What is left in the outbox.
    pub(super) event: NewOutboxEvent,
}

/// What a link is about.
#[derive(Debug)]
pub(super) struct About<'a> {
    /// What for.
    pub(super) kind: TokenKind,
    /// In which letter.
    pub(super) letter: LetterKind,
    /// The page it leads to.
    pub(super) page: &'static str,
    /// For whom.
    pub(super) user: Option<UserId>,
    /// To which address.
    pub(super) email: &'a str,
    /// What is needed beside.
    pub(super) payload: Value,
    /// How long it is good.
    pub(super) life: Duration,
}

impl Link {
    /// A fresh one.
    pub(super) async fn new(app: &App, realm: &Realm, about: About<'_>) -> Result<Self, AppError> {
        let (token, expires_at) = (random_token()?, app.now() + about.life);
        // An account of a shared project may be in several tenants: where a tenant's own name leads is that tenant's to say.
        let own = realm.tenant.filter(|_| realm.project.kind == ProjectKind::Dedicated);
        let url = links::link(app, &realm.project, own, about.page, &token).await?;
        let letter = Letter::new(about.letter, about.email).with("url", url.expose()).until(expires_at);
        Ok(Self {
            token: OneTimeToken {
                hash: hash(token.expose()),
                project_id: realm.project.id,
                kind: about.kind,
                user_id: about.user,
                email: about.email.trim().to_owned(),
                payload: about.payload,
                expires_at,
            },
            event: letter.event(app, realm.project.id, realm.tenant)?,
        })
    }

    /// Keeps it, and leaves its letter.
    pub(super) async fn send(&self, tx: &SessionTx) -> Result<(), AppError> {
        tx.insert_one_time_token(&self.token).await?;
        Ok(tx.leave(&self.event).await?)
    }
}

/// Where a request is made that is not signed in, once it was counted.
///
/// # Errors
/// [`AppError::RateLimited`]; [`AppError::Invalid`] where neither hostname nor key name a project.
pub(super) async fn place(app: &App, context: &RequestContext, rate: Rate) -> Result<Realm, AppError> {
    app.admit_address(rate, context).await?;
    let realm = match site::realm(app, context).await? {
        Some(realm) => Some(realm),
        None => site::default_realm(app, context).await?,
    };
    let realm = realm.ok_or_else(|| AppError::field("!host", "required", "the hostname is nobody's here"))?;
    // Whoever reads the mailbox of one of the platform's staff is not the platform's staff by that.
    if realm.project.is_root() && matches!(rate, Rate::Reset | Rate::Passwordless | Rate::Phone | Rate::Oauth) {
        let detail = "the platform's staff signs in with a password, which an administrator or a command sets";
        return Err(AppError::Restricted { code: "login_method_refused", detail });
    }
    Ok(realm)
}

/// Takes an address's turn to be written to.
///
/// # Errors
/// [`AppError::SendCooldown`], whether or not anybody has the address.
pub(super) async fn turn(
    app: &App,
    tx: &SessionTx,
    (project, kind): (ProjectId, LetterKind),
    email: &str,
) -> Result<(), AppError> {
    match tx.take_mail_turn((project, kind.name()), email, app.config.identity.pace()).await? {
        MailTurn::Now => Ok(()),
        MailTurn::Wait(until) => Err(AppError::SendCooldown { retry_after: until.since(app.now()).as_secs().max(1) }),
    }
}

/// Whether who has no account here is written to once more. Where not, nothing is sent, and whoever asked is told the same.
pub(super) async fn strangers_turn(app: &App, tx: &SessionTx, email: &str) -> Result<bool, AppError> {
    Ok(tx.count_strangers_letter(email, app.config.identity.strangers_a_day).await?)
}

/// An address as people write theirs.
///
/// # Errors
/// [`AppError::Invalid`] at `/email`.
pub(super) fn address(email: &str) -> Result<&str, AppError> {
    let email = email.trim();
    users::named(Some(email), None)?;
    // It must be one that a letter can go to.
    if email.parse::<lettre::Address>().is_err() {
        return Err(AppError::field("/email", "invalid", "is no email address"));
    }
    Ok(email)
}

/// Who may be written to at an address: an account that is there to be signed in to. Emergency administrators are nobody here.
pub(super) async fn reader<R: Users>(store: &R, project: ProjectId, email: &str) -> Result<Option<User>, AppError> {
    let found = store.user_by_login(project, email).await?;
    Ok(found.filter(may_be_written_to))
}

/// Whether an account is there to be signed in to.
pub(super) fn may_be_written_to(user: &User) -> bool {
    !user.is_break_glass && matches!(user.status, UserStatus::Active | UserStatus::PendingDeletion)
}

/// A fresh code.
///
/// # Errors
/// [`AppError::Internal`] without random bytes.
pub(super) fn code() -> Result<Secret<String>, AppError> {
    let mut code = String::with_capacity(DIGITS);
    while code.len() < DIGITS {
        let mut byte = [0_u8; 1];
        let filled = SystemRandom::new().fill(&mut byte);
        filled.map_err(|_| AppError::Internal { what: "no random bytes are to be had", source: None })?;
        // Of 256 values 250 are ten digits evenly.
        let [value] = byte;
        if value < 250 {
            code.push(char::from(b'0' + value % 10));
        }
    }
    Ok(Secret::new(code))
}

/// Who acts where nobody is signed in.
pub(super) fn nobody() -> Actor {
    Actor { kind: ActorKind::Anonymous, id: None, name: String::new() }
}

/// Who acts for themselves.
pub(super) fn oneself(user: &User) -> Actor {
    Actor { kind: ActorKind::User, id: Some(user.id.uuid()), name: user.display_name() }
}

/// What the audit trail is told of a user.
pub(super) fn told(
    happened: &str,
    project: &Project,
    tenant: Option<TenantId>,
    user: &User,
    fields: Value,
) -> AuditEntry {
    AuditEntry {
        action: happened.into(),
        crud: Crud::U,
        target: Target { kind: "user".into(), id: user.id.to_string(), name: user.display_name() },
        project_id: Some(project.id),
        tenant_id: tenant,
        is_failure: false,
        fields,
    }
}

#[test]
fn a_code_is_six_digits_and_another_each_time() {
    let codes: std::collections::BTreeSet<String> = (0..50).map(|_| code().unwrap().expose().clone()).collect();
    assert!(codes.iter().all(|code| code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit())));
    assert!(codes.len() > 45, "{codes:?}");
}
