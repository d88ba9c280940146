//! Every target over its seeds, and over mutations of them: the same ones in every run.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use fuzz_targets::{ALL, Target};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner},
};

/// Mutations of each target's seeds.
const MUTATIONS: u32 = 1_000;

/// What takes a parser to its edges.
const WORDS: [&[u8]; 24] = [
    b"%2f",
    b"%2e%2e",
    b"%",
    b"//",
    b"/../",
    b"\\",
    b";",
    b"#",
    b"?",
    b"\0",
    b"\r\n",
    b"\xff",
    b":",
    b"{{status}}",
    b"{{",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"null",
    b"-1",
    b"18446744073709551616",
    b"x-md-global-user-id: evil\n",
    b"\nauthorization: Bearer a.b.c\n",
];

#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Insert(usize, usize),
    Cut(usize, usize),
    Twice(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0..10_000_usize;
    prop_oneof![
        (at.clone(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at.clone(), 0..WORDS.len()).prop_map(|(at, word)| Change::Insert(at, word)),
        (at.clone(), 1..20_usize).prop_map(|(at, length)| Change::Cut(at, length)),
        (at, 1..40_usize).prop_map(|(at, length)| Change::Twice(at, length)),
    ]
}

fn mutated(seed: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for change in changes {
        let length = bytes.len();
        let place = |at: usize| at % (length + 1);
        match *change {
            Change::Set(at, byte) if place(at) < length => bytes[place(at)] = byte,
            Change::Set(_, byte) => bytes.push(byte),
            Change::Insert(at, word) => drop(bytes.splice(place(at)..place(at), WORDS[word].iter().copied())),
            Change::Cut(at, by) => drop(bytes.drain(place(at)..length.min(place(at) + by))),
            Change::Twice(at, by) => {
                let piece = bytes[place(at)..length.min(place(at) + by)].to_vec();
                bytes.splice(place(at)..place(at), piece);
            }
        }
    }
    bytes
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name)
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = folder(name);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", folder.display());
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn smoke(name: &str, target: Target) {
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() };
    let inputs = (0..seeds.len(), prop::collection::vec(change(), 1..6));
    let found = TestRunner::new_with_rng(config, rng).run(&inputs, |(seed, changes)| {
        let input = mutated(&seeds[seed], &changes);
        let outcome = std::panic::catch_unwind(|| target(&input));
        outcome.map_err(|_| TestCaseError::fail(format!("{name} breaks on {}", input.escape_ascii())))
    });
    if let Err(found) = found {
        panic!("{found}");
    }
}

/// A seed that is refused at the first byte teaches nothing.
#[test]
fn seeds_get_beyond_the_door() {
    let seed = |name: &str| String::from_utf8(fs::read(folder(name)).unwrap()).unwrap();
    serde_json::from_str::<Vec<domain::snapshot::Change>>(&seed("snapshot/site")).unwrap();
    serde_json::from_str::<domain::response::ResponsePolicy>(&seed("policy/whole")).unwrap();
    assert_eq!(authn::Jwks::parse(&serde_json::from_str(&seed("keys/three")).unwrap()).unwrap().len(), 3);
    for name in ["settings-json", "optional-json"] {
        let settings = serde_json::from_str(&seed(&format!("certificates/{name}"))).unwrap();
        authn::Authorities::compile(&settings).unwrap();
    }
    authn::verify::Presented::read(&seed("token/signed")).unwrap();
    for name in ["plain", "encoded", "http2", "absolute"] {
        let sent = fuzz_targets::head::Sent::parse(seed(&format!("canonical/{name}")).as_bytes());
        gate::canonical::read(&sent.head()).unwrap_or_else(|denial| panic!("{name}: {denial}"));
    }
}

macro_rules! smoke_tests {
    ($($test:ident = $name:literal,)*) => {
        $(#[test] fn $test() {
            let (name, target) = ALL.into_iter().find(|(name, _)| *name == $name).unwrap();
            smoke(name, target);
        })*

        #[test]
        fn every_target_is_run() {
            let run = [$($name),*];
            assert!(ALL.iter().all(|(name, _)| run.contains(name)) && run.len() == ALL.len());
        }
    };
}

smoke_tests! {
    no_head_has_two_readings = "canonical",
    no_certificate_or_list_breaks_its_reader = "certificates",
    what_is_decided_is_what_is_forwarded = "decide",
    no_file_breaks_its_reader = "declarative",
    no_key_set_breaks_its_reader = "keys",
    no_policy_splits_a_response = "policy",
    no_signature_is_believed_without_its_key = "signature",
    no_feed_breaks_a_snapshot = "snapshot",
    no_token_is_believed_unsigned = "token",
}
