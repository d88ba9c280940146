//! One function of bytes for each kind of untrusted input. A function that returns has found nothing wrong; one that
//! panics has found an input that breaks what it promises.
//!
//! | Target | Input | What must hold |
//! |---|---|---|
//! | `canonical` | a request head | what is canonical is read as itself, and has nothing that is refused |
//! | `certificates` | settings, revocation lists, client certificates | they are read or refused; a name is whole |
//! | `decide` | a request head | what is decided is what is forwarded, and nothing forged goes with it |
//! | `token` | a bearer text | it is read or refused, and never believed without the key |
//! | `keys` | a key set | it is read or refused; what is read has bounds |
//! | `snapshot` | changes of the feed | they are applied; what is in force, applied anew, is the same |
//! | `signature` | the fields of a signed request, and an API key | they are read or refused, and never believed without the key |
//! | `declarative` | a declarative file | it is read or refused with every mistake |
//! | `policy` | a response policy | what is read cannot split or frame a response, and reads back |
//!
//! `fuzz/` runs them under libFuzzer for as long as one likes; `tests/smoke.rs` runs them over `fuzz/seeds` and some
//! thousand mutations of these in every run of the tests. Seeds that once broke something stay.
#![allow(clippy::expect_used, clippy::panic, reason = "a target that finds something panics: that is its answer")]

pub mod canonical;
pub mod certificates;
pub mod decide;
pub mod declarative;
pub mod head;
pub mod keys;
pub mod policy;
pub mod signature;
pub mod snapshot;
pub mod token;

/// What is done with one input.
pub type Target = fn(&[u8]);

/// All targets by name; the seeds of each lie in the folder of its name.
pub const ALL: [(&str, Target); 9] = [
    ("canonical", canonical::run),
    ("certificates", certificates::run),
    ("decide", decide::run),
    ("declarative", declarative::run),
    ("keys", keys::run),
    ("policy", policy::run),
    ("signature", signature::run),
    ("snapshot", snapshot::run),
    ("token", token::run),
];
