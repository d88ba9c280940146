//! Hashes of passwords that another system made: which of them are taken.
//!
//! Argon2id as a PHC string, and bcrypt in its own form. The bounds are for us: whoever signs in makes us spend what the
//! hash says.

use argon2::{Params, password_hash::phc::PasswordHash};

/// Memory of an Argon2id hash, in KiB: from the least that OWASP names to what libraries choose of themselves.
const MEMORY: std::ops::RangeInclusive<u32> = 7 * 1024..=64 * 1024;
/// Memory times passes: ours is 38,912.
const WORK: std::ops::RangeInclusive<u64> = 35_840..=8 * 38_912;
/// Most lanes.
const LANES: u32 = 4;
/// The version of Argon2 that RFC 9106 describes.
const VERSION: u32 = 0x13;
/// Costs of a bcrypt hash: each more doubles the time, and 12 is about a quarter of a second.
const COSTS: std::ops::RangeInclusive<u8> = 10..=12;

/// Why a hash is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HashError {
    /// Of no scheme that we verify.
    #[error("is neither Argon2id (a PHC string, version 19) nor bcrypt")]
    Unknown,
    /// It has not the form of its scheme.
    #[error("has not the form of its scheme")]
    Malformed,
    /// Whoever guesses would cost us too much, or be stopped by too little.
    #[error(
        "costs more or less than is taken: Argon2id of 7 to 64 MiB, 35840 to 311296 KiB by all passes, 4 lanes; bcrypt of 10 to 12"
    )]
    Cost,
    /// It protects too little.
    #[error("is shorter than its scheme needs: salt and hash have 8 and 16 bytes at least")]
    Weak,
}

/// Whether a hash is one that is verified at sign-in.
///
/// # Errors
/// [`HashError`].
pub fn check(text: &str) -> Result<(), HashError> {
    if text.len() > 256 {
        return Err(HashError::Malformed);
    }
    if text.starts_with("$argon2id$") {
        return argon2id(text);
    }
    let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| text.strip_prefix(prefix));
    bcrypt.ok_or(HashError::Unknown).and_then(after_prefix)
}

fn argon2id(text: &str) -> Result<(), HashError> {
    let hash = PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    if hash.version != Some(VERSION) {
        return Err(HashError::Unknown);
    }
    let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if !MEMORY.contains(&params.m_cost()) || !WORK.contains(&work) || params.p_cost() > LANES {
        return Err(HashError::Cost);
    }
    match (&hash.salt, &hash.hash) {
        (Some(salt), Some(hash)) if salt.len() >= 8 && hash.len() >= 16 => Ok(()),
        (Some(_), Some(_)) => Err(HashError::Weak),
        _ => Err(HashError::Malformed),
    }
}

/// `12$` and 53 characters of salt and hash.
fn after_prefix(rest: &str) -> Result<(), HashError> {
    let (cost, tail) = rest.split_once('$').ok_or(HashError::Malformed)?;
    let digits = cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit());
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    if !digits || tail.len() != 53 || !tail.bytes().all(alphabet) {
        return Err(HashError::Malformed);
    }
    let cost = cost.parse().map_err(|_| HashError::Malformed)?;
    if COSTS.contains(&cost) { Ok(()) } else { Err(HashError::Cost) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2b$12$GhvMmNVjRW29ulnudl.LbuAnUtN/LRfe1JsBm1Xu6LE3059z5Tr8m";

    #[test]
    fn hashes_of_both_schemes_are_taken() {
        for good in [
            BCRYPT,
            "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
            "$argon2id$v=19$m=65536,t=4,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_we_do_not_verify_or_would_pay_too_much_for_is_refused() {
        let argon2 = |params: &str, salt: &str, hash: &str| check(&format!("$argon2id${params}${salt}${hash}"));
        let (salt, hash) = ("c29tZXNhbHRzb21lc2FsdA", "RdescudvJCsgt3ub+b4dWRWJTmaaJObG");
        for cost in [
            "m=1048576,t=2,p=1",
            "m=65536,t=5,p=1",
            "m=19456,t=2,p=8",
            "m=8,t=1,p=1",
            "m=7168,t=4,p=1",
            "m=1024,t=40,p=1",
        ] {
            assert_eq!(argon2(&format!("v=19${cost}"), salt, hash), Err(HashError::Cost), "{cost}");
        }
        assert_eq!(argon2("v=16$m=19456,t=2,p=1", salt, hash), Err(HashError::Unknown));
        assert_eq!(argon2("v=19$m=19456,t=2,p=1", salt, "RdescudvJCsgt3s"), Err(HashError::Weak));
        for unknown in
            ["", "secret", "$1$abc$def", "$argon2i$v=19$m=1024,t=2,p=1$c29tZXNhbHQ$x", "{SSHA}abc", "$2x$10$"]
        {
            assert_eq!(check(unknown), Err(HashError::Unknown), "{unknown}");
        }
        let bcrypt = |cost: &str| check(&BCRYPT.replace("$12$", &format!("${cost}$")));
        assert_eq!((bcrypt("13"), bcrypt("09")), (Err(HashError::Cost), Err(HashError::Cost)));
        for broken in [&BCRYPT[..59], &BCRYPT.replace('/', "="), &BCRYPT.replace("$12$", "$1$"), &"$2b$".repeat(100)] {
            assert_eq!(check(broken), Err(HashError::Malformed), "{broken}");
        }
    }
}
