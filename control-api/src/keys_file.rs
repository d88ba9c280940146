//! The keys file: private keys from outside, with the times at which they sign.
//!
//! ```yaml
//! keys:
//!   - kid: 01990000-0000-7000-8000-000000000001   # a UUID that no key ever had
//!     project: acme
//!     not_before: 2026-12-01T00:00:00Z
//!     expires_at: 2027-12-01T00:00:00Z            # may be left out
//!     private_key_pem: |
//!       -----BEGIN PRIVATE KEY-----
//! ```
//!
//! It is read at the start and on SIGHUP, and taken as a whole or not at all: with one mistake in it, the keys stay as they
//! are. What it names is kept in the database, sealed, so that every replica signs with it. It adds keys and moves their
//! times; it takes none away. Which of them signs is [`crate::app::key_schedule`]'s to say.

use std::{collections::HashSet, path::Path};

use authn::SigningKey as PrivateKey;
use authz::{Authorized, action::ManageSigningKeys};
use domain::{
    Secret, SigningKeyId, Slug, Timestamp,
    model::{KeyPurpose, KeySource, KeyState, NewSigningKey, SignerKind},
    snapshot::Algorithm,
};
use link::file::{Document, Mistakes, Overrides};
use rustls::pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use schemars::JsonSchema;
use serde::Deserialize;
use store::{Audited, Tx, read::*};

use crate::{App, error::AppError};

/// The name in the audit trail.
const JOB: &str = "keys-file";

/// Why a keys file is not in force.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the error text of each says it")]
pub enum KeysFileError {
    #[error("the keys file has mistakes")]
    Mistakes(#[from] Mistakes),
    #[error("the keys file cannot be taken over")]
    Store(#[from] AppError),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<Entry>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[schemars(with = "String")]
    kid: SigningKeyId,
    #[schemars(with = "String")]
    project: Slug,
    not_before: Timestamp,
    expires_at: Option<Timestamp>,
    private_key_pem: Secret<String>,
}

/// A key as the file says it, of a project that is named.
#[derive(Clone, Debug)]
struct Declared {
    project: Slug,
    key: PrivateKeyOf,
    not_before: Timestamp,
    expires_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct PrivateKeyOf {
    kid: SigningKeyId,
    algorithm: Algorithm,
    pkcs8: Secret<Vec<u8>>,
    public_jwk: serde_json::Value,
}

/// Reads the file and takes it over: what is new is published, what has other times follows them.
///
/// # Errors
/// [`KeysFileError`]; nothing changed then.
pub async fn take_over(app: &App, path: &Path) -> Result<(), KeysFileError> {
    let declared = read(path)?;
    let by: Authorized<ManageSigningKeys> = Authorized::system(JOB);
    let (by, declared) = (&by, &declared);
    let written = app.store.write(by, app.now(), |tx| async move {
        for key in declared {
            ensure(&tx, by, key).await?;
        }
        Ok::<_, AppError>(Audited::unchanged(()))
    });
    let ((), commit) = written.await?;
    app.hub.number(Some(commit)).await.map_err(AppError::from)?;
    tracing::info!(signing.keys = declared.len(), "the keys file is in force");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Declared>, Mistakes> {
    let loaded = link::file::load::<KeysFile>(Document::open(path)?, &Overrides::none())?;
    let mut declared = Vec::new();
    loaded.checked(|file, checks| {
        let mut seen = HashSet::new();
        for (at, entry) in file.keys.iter().enumerate() {
            if !seen.insert(entry.kid) {
                checks.refuse(&format!("/keys/{at}/kid"), "is in this file twice");
            }
            if entry.expires_at.is_some_and(|end| end <= entry.not_before) {
                checks.refuse(&format!("/keys/{at}/expires_at"), "is not after `not_before`");
            }
            match private_key(entry.kid, &entry.private_key_pem) {
                Ok(key) => declared.push(Declared {
                    project: entry.project.clone(),
                    key,
                    not_before: entry.not_before,
                    expires_at: entry.expires_at,
                }),
                Err(reason) => checks.refuse(&format!("/keys/{at}/private_key_pem"), reason),
            }
        }
    })?;
    Ok(declared)
}

/// The key of a PEM text, for the one algorithm it is good for.
fn private_key(kid: SigningKeyId, pem: &Secret<String>) -> Result<PrivateKeyOf, &'static str> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes())
        .map_err(|_| "is no PKCS #8 key in PEM (`BEGIN PRIVATE KEY`)")?;
    let pkcs8 = Secret::new(der.secret_pkcs8_der().to_vec());
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        if let Ok(key) = PrivateKey::from_pkcs8(&kid.to_string(), algorithm, &pkcs8) {
            return Ok(PrivateKeyOf { kid, algorithm, pkcs8, public_jwk: key.public_jwk() });
        }
    }
    Err("is no key for ES256 (P-256), EdDSA (Ed25519) or RS256 (RSA of 2048 bits or more)")
}

async fn ensure(tx: &Tx, by: &Authorized<ManageSigningKeys>, declared: &Declared) -> Result<(), AppError> {
    let key = &declared.key;
    let refuse = |detail: String| AppError::Conflict { code: "signing_key_reused", detail };
    let project = tx.project_by_slug(declared.project.as_str()).await?;
    let project = project.ok_or_else(|| {
        AppError::field("/keys", "unknown", format!("key `{}`: there is no project `{}`", key.kid, declared.project))
    })?;
    let times = (Some(declared.not_before), declared.expires_at);
    match tx.signing_key(key.kid).await? {
        None => {
            let new = NewSigningKey {
                kid: key.kid,
                project_id: project.id,
                purpose: KeyPurpose::Tokens,
                algorithm: key.algorithm,
                material: key.pkcs8.clone(),
                public_jwk: key.public_jwk.clone(),
                source: KeySource::File,
                signer: SignerKind::Local,
                not_before: times.0,
                expires_at: times.1,
            };
            tx.created(tx.insert_signing_key(by, new).await?).await?;
        }
        Some(known) if known.public_jwk != key.public_jwk || known.project_id != project.id => {
            return Err(refuse(format!("`{}` was the id of another key; ids are never used again", key.kid)));
        }
        Some(known) if (known.not_before, known.expires_at) == times => {}
        // It has signed all it will; what the file says of it now is of no consequence.
        Some(known) if known.state >= KeyState::Retiring => {}
        Some(known) => {
            tx.updated(tx.reschedule_signing_key(by, known.kid, times).await?).await?;
        }
    }
    Ok(())
}
