//! What is sent to an address and shown once: links and codes. Whoever shows one reads the address.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ProjectId, Timestamp, UserId};

/// What a link is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// To make an account.
    Signup,
    /// To prove the address of an account.
    Verify,
    /// To give an account another address.
    EmailChange,
    /// To choose a new password.
    Reset,
    /// To sign in.
    Magic,
    /// To keep an account that waits to be deleted.
    Deletion,
}

/// A link's token, of which the hash is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct OneTimeToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// In which project.
    pub project_id: ProjectId,
    /// What for.
    pub kind: TokenKind,
    /// For whom; none where there is no account yet.
    pub user_id: Option<UserId>,
    /// The address it went to.
    pub email: String,
    /// What it needs beside.
    pub payload: serde_json::Value,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}

/// What a code is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeKind {
    /// To sign in by email.
    Email,
    /// To make an account with a passkey.
    PasskeySignup,
    /// To prove one's own phone number.
    Phone,
    /// To sign in by phone.
    PhoneLogin,
}

/// Guesses that are let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GuessPolicy {
    /// After so many wrong codes in a row none is looked at.
    pub after: u32,
    /// For this long.
    pub lock_for: Duration,
}

/// What came of a code that was shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodeShown {
    /// It is the one that is live, and is used up.
    Right,
    /// It is not, or none is.
    Wrong,
    /// No code is looked at until then.
    Locked(Timestamp),
}

/// How often an address may be written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MailPace {
    /// Not again before.
    pub cooldown: Duration,
    /// So often within 24 h.
    pub a_day: u32,
}

/// Whether an address may be written to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MailTurn {
    /// It may; that is noted.
    Now,
    /// Not before.
    Wait(Timestamp),
}
