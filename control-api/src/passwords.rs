//! Password hashing: Argon2id (RFC 9106), a bounded number at once, off the async threads; and what a password must be.
//!
//! Hashes that were brought along from elsewhere may be bcrypt's: they verify, and [`is_ours`] says which are to
//! be replaced by who showed the right password.
//!
//! A hash costs about 20 ms and 19 MiB by design, so a sign-in storm waits here and nowhere else: the hashers' threads step
//! back for all others, be they of this process (`portcullis dev`, `portcullis serve`: the edge's) or of the database beside it.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use domain::{Secret, model::PasswordPolicy};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
};

use crate::{
    config::PasswordsConfig,
    error::{AppError, FieldError},
};

/// Memory in KiB, passes and lanes (OWASP Password Storage Cheat Sheet).
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Most that wait for a hasher; more are answered 503 `busy`.
const WAITING: usize = 256;

/// Longest password that is hashed at sign-in, in bytes. Longer ones cannot be right, and cost the same.
const LOGIN_BYTES: usize = 512;

/// As much of a password as bcrypt sees, in bytes.
const BCRYPT_BYTES: usize = 72;

/// The best-known passwords, as [`word`] sees them.
const KNOWN: &str = include_str!("refused_passwords.txt");

/// Hashes and verifies passwords.
#[derive(Debug)]
pub struct Passwords {
    hashers: Arc<Semaphore>,
    /// Whose threads hash; none only while this is dropped.
    threads: Option<Runtime>,
    waiting: AtomicUsize,
    /// Verified against when there is no such user, so that both take the same time.
    dummy: Secret<String>,
    /// How many were hashed or verified.
    done: AtomicU64,
    /// What nobody's password may be.
    refused: HashSet<String>,
    /// What the platform asks for.
    floor: PasswordPolicy,
}

impl Passwords {
    /// With so many hashers.
    ///
    /// # Errors
    /// [`AppError::Internal`] when the cost parameters, the random source or threads do not work, or the file of refused passwords
    /// cannot be read.
    pub fn new(hashers: usize, config: &PasswordsConfig) -> Result<Self, AppError> {
        let own = match &config.refused {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| AppError::internal("the file of refused passwords cannot be read", error))?,
            None => String::new(),
        };
        let refused = KNOWN.lines().chain(own.lines()).map(word).filter(|word| !word.is_empty()).collect();
        let (hashers, dummy) = (hashers.max(1), hash(b"nobody has this password")?);
        let threads = Builder::new_current_thread()
            .max_blocking_threads(hashers)
            .thread_name("password-hasher")
            .on_thread_start(link::priority::step_back)
            .build()
            .map_err(|error| AppError::internal("there are no threads for password hashers", error))?;
        let hashers = Arc::new(Semaphore::new(hashers));
        Ok(Self {
            hashers,
            threads: Some(threads),
            waiting: AtomicUsize::new(0),
            dummy,
            done: AtomicU64::new(0),
            refused,
            floor: config.policy,
        })
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

    /// How many passwords were hashed or verified until now.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// What the platform asks for.
    pub const fn floor(&self) -> PasswordPolicy {
        self.floor
    }

    /// Whether a new password is what `policy` asks for, and nothing that everybody tries: the best-known ones, and what its
    /// holder is called (`names`).
    ///
    /// # Errors
    /// [`AppError::Invalid`] at `pointer`, with what it lacks.
    pub fn check(
        &self,
        policy: &PasswordPolicy,
        password: &Secret<String>,
        names: &[&str],
        pointer: &str,
    ) -> Result<(), AppError> {
        let refuse = |code, detail: String| Err(AppError::Invalid(vec![FieldError::new(pointer, code, detail)]));
        let password = password.expose();
        let count = |kind: fn(char) -> bool| password.chars().filter(|c| kind(*c)).count();
        let enough = |have: usize, wanted: u32| have >= usize::try_from(wanted).unwrap_or(usize::MAX);
        let length = password.chars().count();
        if !enough(length, policy.min_length) || enough(length, policy.max_length.saturating_add(1)) {
            let detail = format!("a password has {} to {} characters", policy.min_length, policy.max_length);
            return refuse("password_length", detail);
        }
        if password.len() > LOGIN_BYTES || password.contains('\0') {
            return refuse("password_length", format!("a password has at most {LOGIN_BYTES} bytes, none of them NUL"));
        }
        let wanted = [
            (count(char::is_lowercase), policy.lower, "lower-case letters"),
            (count(char::is_uppercase), policy.upper, "upper-case letters"),
            (count(|c| c.is_ascii_digit()), policy.digits, "digits"),
            (count(|c| !c.is_alphanumeric()), policy.special, "other characters"),
        ];
        if wanted.iter().any(|(have, wanted, _)| !enough(*have, *wanted)) {
            let asked: Vec<String> = wanted.iter().map(|(_, wanted, what)| format!("{wanted} {what}")).collect();
            return refuse("password_weak", format!("a password has at least {}", asked.join(", ")));
        }
        if self.refused.contains(&word(password)) {
            return refuse("password_known", "is one of those that everybody tries".into());
        }
        let folded = password.to_lowercase();
        let of_names = names.iter().flat_map(|name| [Some(*name), name.split('@').next()]).flatten();
        if of_names.filter(|name| name.chars().count() >= 4).any(|name| folded.contains(&name.to_lowercase())) {
            return refuse("password_name", "holds what its holder is called".into());
        }
        Ok(())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
    ) -> Result<T, AppError> {
        self.done.fetch_add(1, Ordering::Relaxed);
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
        // It sees no further, so what follows would be taken for right.
        return password.len() <= BCRYPT_BYTES && bcrypt::verify(password, stored).unwrap_or(false);
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

/// A password as it is compared with known ones: in lower case, without what follows its last letter, unless nothing is left.
fn word(password: &str) -> String {
    let folded = password.trim().to_lowercase();
    let stem = folded.trim_end_matches(|c: char| !c.is_alphabetic());
    if stem.chars().count() < 3 { folded } else { stem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_recommended_cost() {
        let passwords = Passwords::new(2, &PasswordsConfig::default()).unwrap();
        let stored = passwords.hash(Secret::new("Correct-horse-1".into())).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.expose());
        let verify = |password: &str, stored| passwords.verify(Secret::new(password.to_owned()), stored);
        assert!(verify("Correct-horse-1", Some(stored.clone())).await.unwrap());
        assert!(!verify("Correct-horse-2", Some(stored.clone())).await.unwrap());
        assert!(!verify("nobody has this password", None).await.unwrap());
        assert_eq!(passwords.done(), 4, "nobody's costs as much as somebody's");
        assert!(is_ours(&stored));
    }

    #[tokio::test]
    async fn an_imported_hash_is_verified_and_one_that_cannot_be_read_is_nobodys() {
        let passwords = Passwords::new(1, &PasswordsConfig::default()).unwrap();
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
    fn a_new_password_is_what_the_policy_asks_for() {
        let passwords = Passwords::new(1, &PasswordsConfig::default()).unwrap();
        let code = |policy: &PasswordPolicy, password: &str| {
            let checked =
                passwords.check(policy, &Secret::new(password.into()), &["ada@acme.example", "Lovelace"], "/p");
            checked.err().map(|error| error.fields()[0].code)
        };
        let floor = passwords.floor();
        assert_eq!(code(&floor, "Tr0ub4dor&3"), None);
        assert_eq!(
            code(&floor, &format!("aA1!{}", "\u{1f600}".repeat(124))),
            None,
            "characters are counted, not bytes"
        );
        for (bad, why) in [
            ("Sh0rt1!", "password_length"),
            (&*"aA1!".repeat(33), "password_length"),
            (&*format!("aA1!{}", "\u{1f600}".repeat(125)), "password_length"),
            ("alllowercase1!", "password_weak"),
            ("ALLUPPERCASE1!", "password_weak"),
            ("NoDigits!!", "password_weak"),
            ("NoOther1111", "password_weak"),
            ("Password1!", "password_known"),
            ("Qwerty-123", "password_known"),
            ("Lovelace-1815", "password_name"),
        ] {
            assert_eq!(code(&floor, bad), Some(why), "{bad}");
        }
        let strict = PasswordPolicy { min_length: 12, digits: 3, ..floor };
        assert_eq!(code(&strict, "Tr0ub4dor&3"), Some("password_length"));
        assert_eq!(code(&strict, "Tr0ubador&3-xy"), Some("password_weak"));
        assert_eq!(code(&strict, "Tr0ub4dor&3-42"), None);
    }

    #[test]
    fn an_operators_list_is_refused_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Zebracorn\n").unwrap();
        let config = PasswordsConfig { refused: Some(file.path().into()), ..PasswordsConfig::default() };
        let passwords = Passwords::new(1, &config).unwrap();
        let checked = passwords.check(&passwords.floor(), &Secret::new("ZebraCorn-2026".into()), &[], "/p");
        assert_eq!(checked.unwrap_err().fields()[0].code, "password_known");
    }
}
