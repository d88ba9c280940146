//! Letters to the holder of an account whose second factors, passkeys or phone number changed: who did not do that learns of it.

use domain::{
    model::{Project, User},
    outbox::NewOutboxEvent,
};

use crate::{
    App,
    error::AppError,
    mail::letter::{Letter, LetterKind},
};

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FactorChange {
    /// An authenticator counts.
    TotpEnabled,
    /// It was taken away.
    TotpDisabled,
    /// There are new recovery codes.
    RecoveryCodesReplaced,
    /// A passkey was added.
    PasskeyAdded,
    /// One was taken away.
    PasskeyRemoved,
    /// An account of a provider was linked.
    IdentityLinked,
    /// One was unlinked.
    IdentityUnlinked,
    /// A phone number signs in.
    PhoneAdded,
    /// It does no more.
    PhoneRemoved,
    /// An administrator took all of them away.
    Reset,
}

impl FactorChange {
    const fn sentence(self) -> &'static str {
        match self {
            Self::TotpEnabled => "An authenticator was added to your account. From now on a code of it is asked for.",
            Self::TotpDisabled => "The authenticator of your account was taken away. No code is asked for any more.",
            Self::RecoveryCodesReplaced => "New recovery codes were made. Those of before are no longer good.",
            Self::PasskeyAdded => "A passkey was added to your account.",
            Self::PasskeyRemoved => "A passkey of your account was deleted.",
            Self::PhoneAdded => "A phone number was added to your account. Whoever reads its texts can sign in.",
            Self::PhoneRemoved => "The phone number of your account was removed.",
            Self::IdentityLinked => "An account of an identity provider was linked to yours. It can be signed in with.",
            Self::IdentityUnlinked => "An account of an identity provider was unlinked from yours.",
            Self::Reset => {
                "An administrator took the authenticator, the passkeys, the phone number and the accounts of identity providers from your account."
            }
        }
    }
}

/// To the proven address of an account; none where there is none, or no mail can be sent. To be left in the transaction of the
/// change.
pub(super) fn notice(
    app: &App,
    project: &Project,
    user: &User,
    change: FactorChange,
) -> Result<Option<NewOutboxEvent>, AppError> {
    to_holder(app, project, user, |email| {
        Letter::new(LetterKind::FactorChanged, email).with("change", change.sentence())
    })
}

/// A letter to the proven address of an account; none where there is none, or no mail can be sent.
pub(super) fn to_holder(
    app: &App,
    project: &Project,
    user: &User,
    letter: impl FnOnce(&str) -> Letter,
) -> Result<Option<NewOutboxEvent>, AppError> {
    let proven = user.email.as_deref().filter(|_| user.email_verified_at.is_some() && app.mail_ready().is_ok());
    proven.map(|email| letter(email).event(app, project.id, None)).transpose()
}
