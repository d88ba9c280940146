//! WebAuthn's ceremonies (Level 2 §7) at one hostname, over `webauthn-rs`.
//!
//! ```text
//! begin:     options for the browser + a ticket        (nothing is kept here)
//! complete:  the ticket + what the authenticator said  -> a credential, or who signed in
//! ```
//!
//! What the library has to know again when a ceremony is completed travels in the ticket: sealed under the master key,
//! bound to hostname, purpose and time. A ticket is used once; that it was, the store keeps.
//!
//! The relying party's id is the hostname, whole: a passkey of one hostname is good at no other, neither at one above nor at
//! one below. The origin is `https://{hostname}` with the port that clients see, and nothing else.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    HostName, ProjectId, Secret, SessionId, TenantId, Timestamp, UserId,
    model::{Passkey, Project},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use webauthn_rs_core::{
    WebauthnCore,
    error::WebauthnError,
    proto::{
        AttestationConveyancePreference, AttestationFormat, AuthenticationState, Credential, ParsedAttestation,
        PublicKeyCredential, RegisterPublicKeyCredential, RegistrationState, UserVerificationPolicy,
    },
};

use crate::{App, error::AppError};

/// What tickets are sealed for.
const PLACE: &str = "passkeys.ticket";

/// Longest ticket that is read, in bytes.
const MAX_TICKET: usize = 64 * 1024;

/// Longest id of a credential, in bytes (WebAuthn Level 2 §4).
const MAX_CREDENTIAL_ID: usize = 1023;

/// What a ceremony is for.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Purpose {
    /// A session's user registers a passkey.
    Register {
        /// Who.
        user: UserId,
        /// In which session.
        session: SessionId,
    },
    /// A session's user shows a passkey in it.
    StepUp {
        /// Who.
        user: UserId,
        /// In which session.
        session: SessionId,
    },
    /// Somebody signs in.
    SignIn {
        /// As whom, folded; anybody where it is empty.
        name: String,
    },
    /// Somebody makes an account whose way in it is.
    SignUp(NewHolder),
}

/// Who makes an account with a passkey.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct NewHolder {
    /// Who they will be.
    pub(crate) user: UserId,
    /// Where they become a member.
    pub(crate) tenant: TenantId,
    /// Their address, to be proven.
    pub(crate) email: String,
    /// First name.
    pub(crate) first_name: String,
    /// Last name.
    pub(crate) last_name: String,
}

/// A ceremony that was begun.
#[derive(Deserialize, Serialize)]
struct Ticket<S> {
    project: ProjectId,
    rp_id: String,
    purpose: Purpose,
    expires_at: i64,
    state: S,
}

/// A hostname as a relying party.
pub(crate) struct RelyingParty<'a> {
    app: &'a App,
    project: ProjectId,
    rp_id: String,
    core: WebauthnCore,
}

/// What a browser is told, and the ticket that it comes back with.
#[derive(Debug)]
pub(crate) struct Begun {
    /// For `navigator.credentials.create()` or `get()`.
    pub(crate) options: Value,
    /// The ticket.
    pub(crate) ticket: Secret<String>,
}

/// A ceremony that is being completed.
#[derive(Debug)]
pub(crate) struct Answered<S> {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// What is noted when it is used.
    pub(crate) hash: [u8; 32],
    /// Until when it is good.
    pub(crate) expires_at: Timestamp,
    state: S,
}

/// A sign-in's use of a passkey, as its authenticator said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// How often it signed.
    pub(crate) sign_count: u32,
    /// Whether it is kept in step between devices now.
    pub(crate) backup_state: bool,
}

impl<'a> RelyingParty<'a> {
    /// A hostname of a project, at the port that browsers see.
    ///
    /// # Errors
    /// [`AppError::Internal`] when it makes no origin.
    pub(crate) fn at(app: &'a App, project: &Project, host: &HostName, port: u16) -> Result<Self, AppError> {
        let port = if port == 443 { String::new() } else { format!(":{port}") };
        let origin = format!("https://{host}{port}").parse();
        let origin = origin.map_err(|error| AppError::internal("a hostname makes no origin", error))?;
        let name = if project.name.is_empty() { host.as_str() } else { &project.name };
        let life = app.config.passkeys.challenge.get();
        let core = WebauthnCore::new_unsafe_experts_only(name, host.as_str(), vec![origin], life, None, None);
        Ok(Self { app, project: project.id, rp_id: host.to_string(), core })
    }

    /// Its project.
    pub(crate) const fn project(&self) -> ProjectId {
        self.project
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.rp_id
    }

    /// Begins to register a passkey that is none of `known`. It is one that names its user itself, and that knows them.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub(crate) fn begin_registration(
        &self,
        purpose: Purpose,
        (user, name): (UserId, &str),
        known: &[Passkey],
    ) -> Result<Begun, AppError> {
        let known = known.iter().filter(|passkey| passkey.rp_id == self.rp_id);
        let known = known.map(|passkey| passkey.credential_id.clone()).collect();
        let options =
            self.core.new_challenge_register_builder(user.uuid().as_bytes(), name, name).and_then(|builder| {
                let builder = builder
                    .attestation(AttestationConveyancePreference::None)
                    .user_verification_policy(UserVerificationPolicy::Required)
                    .require_resident_key(true)
                    .exclude_credentials(Some(known));
                self.core.generate_challenge_register(builder)
            });
        let (options, state) = options.map_err(|error| failed(&error))?;
        self.begun(&options, purpose, state)
    }

    /// Begins a sign-in. Which passkeys there are is not told: whoever has one that is good here, has it named by their
    /// device.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub(crate) fn begin_sign_in(&self, name: &str) -> Result<Begun, AppError> {
        self.begin_assertion(Purpose::SignIn { name: domain::model::fold(name) })
    }

    /// Begins a step-up within a session.
    ///
    /// # Errors
    /// [`AppError::Internal`].
    pub(crate) fn begin_step_up(&self, user: UserId, session: SessionId) -> Result<Begun, AppError> {
        self.begin_assertion(Purpose::StepUp { user, session })
    }

    fn begin_assertion(&self, purpose: Purpose) -> Result<Begun, AppError> {
        let builder = self.core.new_challenge_authenticate_builder(Vec::new(), Some(UserVerificationPolicy::Required));
        let options = builder.and_then(|builder| self.core.generate_challenge_authenticate(builder));
        let (options, state) = options.map_err(|error| failed(&error))?;
        self.begun(&options, purpose, state)
    }

    fn begun<S: Serialize>(&self, options: &impl Serialize, purpose: Purpose, state: S) -> Result<Begun, AppError> {
        let expires_at = self.app.now() + self.app.config.passkeys.challenge.get();
        let (project, rp_id) = (self.project, self.rp_id.clone());
        let ticket = Ticket { project, rp_id, purpose, expires_at: expires_at.millis(), state };
        let unwritten = |error| AppError::internal("a ceremony cannot be written", error);
        let plain = Secret::new(serde_json::to_vec(&ticket).map_err(unwritten)?);
        let sealed = self.app.store.seal_ticket(PLACE, &plain)?;
        let options = serde_json::to_value(options).map_err(unwritten)?;
        let options = options.get("publicKey").cloned().unwrap_or_default();
        Ok(Begun { options, ticket: Secret::new(URL_SAFE_NO_PAD.encode(sealed)) })
    }

    /// The ceremony of a ticket of this hostname's that is in time.
    ///
    /// # Errors
    /// [`AppError::LoginChallengeInvalid`], whatever is wrong with it.
    pub(crate) fn answered<S: DeserializeOwned>(&self, ticket: &Secret<String>) -> Result<Answered<S>, AppError> {
        const GONE: AppError = AppError::LoginChallengeInvalid;
        if ticket.expose().len() > MAX_TICKET {
            return Err(GONE);
        }
        let sealed = URL_SAFE_NO_PAD.decode(ticket.expose()).map_err(|_| GONE)?;
        let plain = self.app.store.open_ticket(PLACE, &sealed).ok_or(GONE)?;
        let ticket: Ticket<S> = serde_json::from_slice(plain.expose()).map_err(|_| GONE)?;
        let expires_at = Timestamp::from_millis(ticket.expires_at);
        if ticket.project != self.project || ticket.rp_id != self.rp_id || self.app.now() >= expires_at {
            return Err(GONE);
        }
        let hash = digest::digest(&digest::SHA256, &sealed).as_ref().first_chunk().copied().unwrap_or_default();
        Ok(Answered { purpose: ticket.purpose, hash, expires_at, state: ticket.state })
    }

    /// The credential that an authenticator made.
    ///
    /// # Errors
    /// [`AppError::Invalid`] (`/credential`) for what is none, or is for another challenge, origin or relying party.
    pub(crate) fn registered(
        &self,
        answered: &Answered<RegistrationState>,
        shown: &RegisterPublicKeyCredential,
    ) -> Result<Credential, AppError> {
        let refused = || AppError::field("/credential", "invalid", "is not what was asked for, or not made here");
        let mut made = self.core.register_credential(shown, &answered.state, None).map_err(|error| {
            tracing::debug!(error = %error, "a passkey was not registered");
            refused()
        })?;
        if made.cred_id.len() > MAX_CREDENTIAL_ID {
            return Err(refused());
        }
        // None was asked for. What was sent all the same is as long as its sender likes, and is not kept.
        made.attestation = ParsedAttestation::default();
        made.attestation_format = AttestationFormat::None;
        made.transports = None;
        Ok(made)
    }

    /// Whether a passkey signed what was asked of it here.
    ///
    /// # Errors
    /// [`AppError::CredentialsInvalid`]; [`AppError::Internal`] for a row that cannot be read.
    pub(crate) fn signed(
        &self,
        answered: &Answered<AuthenticationState>,
        passkey: &Passkey,
        shown: &PublicKeyCredential,
    ) -> Result<Used, AppError> {
        let unreadable = |error| AppError::internal("a passkey cannot be read", error);
        let mut credential: Credential = serde_json::from_value(passkey.credential.clone()).map_err(unreadable)?;
        credential.counter = passkey.sign_count;
        credential.backup_state = passkey.backup_state;
        let result = self.core.authenticate_single_credential(shown, &answered.state, &credential);
        let result = result.map_err(|error| {
            // A count that does not grow is a copy's: worth an operator's look.
            match error {
                WebauthnError::CredentialPossibleCompromise => {
                    tracing::warn!(passkey.id = %passkey.id, "a passkey's count went back: there may be a copy of it");
                }
                ref other => tracing::debug!(error = %other, "a passkey's signature was not accepted"),
            }
            AppError::CredentialsInvalid
        })?;
        if !result.user_verified() {
            return Err(AppError::CredentialsInvalid);
        }
        Ok(Used { sign_count: result.counter(), backup_state: result.backup_state() })
    }
}

fn failed(error: &WebauthnError) -> AppError {
    AppError::internal("a ceremony cannot be begun", error.to_string())
}
