//! Password hashing: Argon2id (RFC 9106), a bounded number at once, off the async threads.
//!
//! A hash costs about 20 ms and 19 MiB by design, so a sign-in storm waits here and nowhere else: the hashers' threads step
//! back for all others, be they of this process (`portcullis dev`, `portcullis serve`: the edge's) or of the database beside it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use domain::Secret;
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

use crate::error::{AppError, FieldError};

/// Memory in KiB, passes and lanes (OWASP Password Storage Cheat Sheet).
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Most that wait for a hasher; more are answered 503 `busy`.
const WAITING: usize = 256;

/// Longest password that is hashed at sign-in, in bytes. Longer ones cannot be right, and cost the same.
const LOGIN_BYTES: usize = 512;

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Passwords {
    hashers: Arc<Semaphore>,
    /// Whose threads hash; none only while this is dropped.
    threads: Option<Runtime>,
    waiting: AtomicUsize,
    /// Verified against when there is no such user, so that both take the same time.
    dummy: Secret<String>,
}

impl Passwords {
    /// With so many hashers.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the cost parameters, the random source or threads do not work.
    pub fn new(hashers: usize) -> Result<Self, AppError> {
        let (hashers, dummy) = (hashers.max(1), hash(b"nobody has this password")?);
        let threads = Builder::new_current_thread()
            .max_blocking_threads(hashers)
            .thread_name("password-hasher")
            .on_thread_start(link::priority::step_back)
            .build()
            .map_err(|error| AppError::internal("there are no threads for password hashers", error))?;
        let hashers = Arc::new(Semaphore::new(hashers));
        Ok(Self { hashers, threads: Some(threads), waiting: AtomicUsize::new(0), dummy })
    }

    /// The PHC string of a password.
    ///
    /// # Errors
    /// [`AppError::Busy`] when too many wait.
    pub async fn hash(&self, password: Secret<String>) -> Result<Secret<String>, AppError> {
        self.run(move || hash(password.expose().as_bytes())).await
    }

    /// Whether the password is the one of `stored`. Takes the same time when there is none.
    ///
    /// # Errors
    /// [`AppError::Busy`] when too many wait.
    pub async fn verify(&self, password: Secret<String>, stored: Option<Secret<String>>) -> Result<bool, AppError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.dummy.clone());
        self.run(move || {
            let bytes = password.expose().as_bytes();
            let fits = bytes.len() <= LOGIN_BYTES;
            let bytes = bytes.get(..LOGIN_BYTES).unwrap_or(bytes);
            Ok(known && fits && matches(bytes, stored.expose()))
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
    ) -> Result<T, AppError> {
        let _place = Place::take(&self.waiting).ok_or(AppError::Busy)?;
        let permit = Arc::clone(&self.hashers).acquire_owned().await.map_err(|_| AppError::Busy)?;
        // The permit goes with the work: a caller that gives up does not make room for another hash at once.
        let done = self.threads.as_ref().ok_or(AppError::Busy)?.spawn_blocking(move || {
            let outcome = work();
            drop(permit);
            outcome
        });
        done.await.map_err(|error| AppError::internal("a password hasher failed", error))?
    }
}

impl Drop for Passwords {
    /// A runtime must not be waited for within another one; a hash that nobody waits for any more may end when it likes.
    fn drop(&mut self) {
        self.threads.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// A place among those who wait.
struct Place<'w>(&'w AtomicUsize);

impl<'w> Place<'w> {
    fn take(waiting: &'w AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hash(password: &[u8]) -> Result<Secret<String>, AppError> {
    let (memory, passes, lanes) = COST;
    let failed = |error: &dyn std::fmt::Display| AppError::internal("a password cannot be hashed", error.to_string());
    let params = Params::new(memory, passes, lanes, None).map_err(|error| failed(&error))?;
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password).map(|phc| Secret::new(phc.to_string())).map_err(|error| failed(&error))
}

/// Whether a password is the one of a hash: of ours, or one that was imported (`imported_hash`). A hash of no scheme that we
/// know is nobody's password.
fn matches(password: &[u8], stored: &str) -> bool {
    if stored.starts_with("$2") {
        return bcrypt::verify(password, stored).unwrap_or(false);
    }
    match PasswordHash::new(stored) {
        Ok(parsed) => Argon2::default().verify_password(password, &parsed).is_ok(),
        Err(error) => {
            tracing::error!(%error, "a stored password hash cannot be read");
            false
        }
    }
}

/// Whether a hash is of the scheme and cost of ours; another is made anew when its password is shown.
pub fn is_ours(stored: &Secret<String>) -> bool {
    let (memory, passes, lanes) = COST;
    stored.expose().starts_with(&format!("$argon2id$v=19$m={memory},t={passes},p={lanes}$"))
}

/// What a new password must be: 8 to 128 characters, with a lower-case and an upper-case letter, a digit and something
/// else.
///
/// # Errors
/// What it lacks, at `pointer`.
pub fn acceptable(password: &str, pointer: &str) -> Result<(), FieldError> {
    let refuse = |code, detail: &str| Err(FieldError::new(pointer, code, detail));
    if !(8..=128).contains(&password.chars().count()) {
        return refuse("password_length", "a password has 8 to 128 characters");
    }
    let has = |kind: fn(char) -> bool| password.chars().any(kind);
    let other = |c: char| !c.is_alphanumeric();
    if !(has(char::is_lowercase) && has(char::is_uppercase) && has(|c| c.is_ascii_digit()) && has(other)) {
        return refuse(
            "password_weak",
            "a password has lower-case and upper-case letters, digits and other characters",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_recommended_cost() {
        let passwords = Passwords::new(2).unwrap();
        let stored = passwords.hash(Secret::new("Correct-horse-1".into())).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.expose());
        let verify = |password: &str, stored| passwords.verify(Secret::new(password.to_owned()), stored);
        assert!(verify("Correct-horse-1", Some(stored.clone())).await.unwrap());
        assert!(!verify("Correct-horse-2", Some(stored.clone())).await.unwrap());
        assert!(!verify("nobody has this password", None).await.unwrap());
    }

    #[tokio::test]
    async fn an_imported_hash_is_verified_and_one_that_cannot_be_read_is_nobodys() {
        let passwords = Passwords::new(1).unwrap();
        let bcrypt = Secret::new(bcrypt::hash("Correct-horse-1", 4).unwrap());
        let verify = |password: &str, stored: &Secret<String>| {
            passwords.verify(Secret::new(password.to_owned()), Some(stored.clone()))
        };
        assert!(verify("Correct-horse-1", &bcrypt).await.unwrap());
        assert!(!verify("Correct-horse-2", &bcrypt).await.unwrap());
        assert!(!verify("Correct-horse-1", &Secret::new("$9$x".into())).await.unwrap());
        assert!(!is_ours(&bcrypt) && is_ours(&passwords.hash(Secret::new("Correct-horse-1".into())).await.unwrap()));
    }

    #[test]
    fn a_new_password_is_long_and_mixed() {
        assert!(acceptable("Tr0ub4dor&3", "/password").is_ok());
        for bad in ["short1!", "alllowercase1!", "ALLUPPERCASE1!", "NoDigits!!", "NoOther1111", &"aA1!".repeat(33)] {
            assert!(acceptable(bad, "/password").is_err(), "{bad}");
        }
    }
}
