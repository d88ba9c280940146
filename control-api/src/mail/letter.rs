//! What is written to people: which letter, to whom, and what is filled in.

use std::collections::BTreeMap;

use domain::{
    OutboxEventId, ProjectId, Secret, TenantId, Timestamp,
    outbox::{NewOutboxEvent, OutboxKind},
};
use serde::{Deserialize, Serialize};

use crate::{App, context::new_id, error::AppError};

/// Longest name that is filled in, in characters.
pub(super) const MAX_NAME: usize = 64;

/// Whether a character is of those that change how others are shown, or that nobody sees.
pub(crate) const fn is_odd(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What people wrote, as it stands in a letter of ours: without line ends, other controls and marks of direction, and with nothing
/// that a mail program makes a link of.
pub(super) fn plain(text: &str, most: usize) -> String {
    let odd = |c: char| c.is_control() || is_odd(c);
    let clean: String = text.chars().map(|c| if odd(c) { ' ' } else { c }).collect();
    let clean = clean.replace("://", ": ").replace("www.", "www ").replace("WWW.", "WWW ");
    clean.trim().chars().take(most).collect::<String>().trim_end().to_owned()
}

/// Which letter. Its name is that of its template, and of the one a project has in its place.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterKind {
    /// Join a tenant: `inviter_tenant`, `url`, `expires`.
    Invitation,
    /// Confirm an address, and an account is made: `url`, `expires`.
    Signup,
    /// Somebody asked for an account with an address that has one.
    AccountExists,
    /// Confirm the address of an account: `url`, `expires`.
    EmailVerification,
    /// Confirm the new address of an account: `url`, `expires`.
    EmailChange,
    /// To the old address: another one was asked for.
    EmailChangeNotice,
    /// To the old address: there is another one now.
    EmailChanged,
    /// Choose a new password: `url`, `expires`.
    PasswordReset,
    /// The password was changed.
    PasswordChanged,
    /// A code to sign in with: `code`, `expires`.
    LoginCode,
    /// A code to make an account with: `code`, `expires`.
    SignupCode,
    /// A link to sign in with: `url`, `expires`.
    MagicLink,
    /// A second factor or passkey was added or taken away: `change`, a sentence.
    FactorChanged,
    /// A sign-in on another device was approved.
    QrLogin,
    /// The password is void, because who reads the address was not known before.
    PasswordVoided,
    /// The account will be deleted: `due`, and `url`, which keeps it.
    AccountDeletion,
    /// Anything else: `title`, one line, and `text`.
    Notice,
}

impl LetterKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Invitation,
        Self::Signup,
        Self::AccountExists,
        Self::EmailVerification,
        Self::EmailChange,
        Self::EmailChangeNotice,
        Self::EmailChanged,
        Self::PasswordReset,
        Self::PasswordChanged,
        Self::LoginCode,
        Self::SignupCode,
        Self::MagicLink,
        Self::FactorChanged,
        Self::QrLogin,
        Self::PasswordVoided,
        Self::AccountDeletion,
        Self::Notice,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Signup => "signup",
            Self::AccountExists => "account_exists",
            Self::EmailVerification => "email_verification",
            Self::EmailChange => "email_change",
            Self::EmailChangeNotice => "email_change_notice",
            Self::EmailChanged => "email_changed",
            Self::PasswordReset => "password_reset",
            Self::PasswordChanged => "password_changed",
            Self::LoginCode => "login_code",
            Self::SignupCode => "signup_code",
            Self::MagicLink => "magic_link",
            Self::FactorChanged => "factor_changed",
            Self::QrLogin => "qr_login",
            Self::PasswordVoided => "password_voided",
            Self::AccountDeletion => "account_deletion",
            Self::Notice => "notice",
        }
    }

    /// What is filled in, beside `project`.
    pub const fn values(self) -> &'static [&'static str] {
        match self {
            Self::Invitation => &["inviter_tenant", "url", "expires"],
            Self::Signup | Self::EmailVerification | Self::EmailChange | Self::PasswordReset | Self::MagicLink => {
                &["url", "expires"]
            }
            Self::LoginCode | Self::SignupCode => &["code", "expires"],
            Self::FactorChanged => &["change"],
            Self::AccountDeletion => &["due", "url"],
            Self::Notice => &["title", "text"],
            Self::AccountExists
            | Self::EmailChangeNotice
            | Self::EmailChanged
            | Self::PasswordChanged
            | Self::QrLogin
            | Self::PasswordVoided => &[],
        }
    }
}

/// A letter that is to be sent. It may hold a one-time secret: it is kept sealed, and nowhere but in the outbox.
#[derive(Clone, Serialize, Deserialize)]
pub struct Letter {
    kind: LetterKind,
    to: String,
    values: BTreeMap<String, String>,
    /// From then on it is of no use.
    expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letter").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Letter {
    /// A letter to an address that was checked.
    pub fn new(kind: LetterKind, to: impl Into<String>) -> Self {
        Self { kind, to: to.into(), values: BTreeMap::new(), expires_at: None }
    }

    /// With something filled in.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// With a secret that is good until then, as `expires`. It is not sent later than that.
    #[must_use]
    pub fn until(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(at);
        self.with("expires", at.to_string())
    }

    /// Which it is.
    pub const fn kind(&self) -> LetterKind {
        self.kind
    }

    /// Whose address.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// What is filled in.
    pub const fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }

    /// From when it is of no use.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether it is of no use any more.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// As what is left in the outbox, by [`store::Tx::leave`] or [`store::SessionTx::leave`], in the transaction of what
    /// it tells of.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub fn event(&self, app: &App, project: ProjectId, tenant: Option<TenantId>) -> Result<NewOutboxEvent, AppError> {
        let payload = serde_json::to_string(self);
        let payload = payload.map_err(|error| AppError::internal("a letter cannot be written", error))?;
        Ok(NewOutboxEvent {
            id: new_id(&*app.clock),
            kind: OutboxKind::Mail,
            project_id: Some(project),
            tenant_id: tenant,
            payload: Secret::new(payload),
        })
    }
}

/// A letter as it goes out.
#[derive(Clone)]
pub struct Mail {
    /// The same at each attempt; its `Message-ID`.
    pub id: OutboxEventId,
    /// When it was left.
    pub at: Timestamp,
    /// From when what it holds is of no use.
    pub expires_at: Option<Timestamp>,
    /// Whose address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// In plain text.
    pub text: Secret<String>,
    /// The same as HTML.
    pub html: Secret<String>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).finish_non_exhaustive()
    }
}
