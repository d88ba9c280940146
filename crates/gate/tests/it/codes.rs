//! The codes of refusals, their statuses and their documentation are one thing.

const SOURCE: &str = include_str!("../../src/denial.rs");
const TOKENS: &str = include_str!("../../../authn/src/verify.rs");
const KEYS: &str = include_str!("../../../authn/src/api_key.rs");
const DOCS: &str = include_str!("../../../../docs/errors.md");

/// Every code that the source gives a refusal.
pub(crate) fn codes() -> Vec<&'static str> {
    let body = SOURCE.split("fn title").next().unwrap().split("pub fn public").nth(1).unwrap();
    let codes_of =
        |source: &'static str| source.split("const fn code").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let quoted = |text: &'static str| text.split('"').skip(1).step_by(2);
    let mut codes: Vec<_> = quoted(body).chain(quoted(codes_of(TOKENS))).chain(quoted(codes_of(KEYS))).collect();
    codes.sort_unstable();
    codes
}

#[test]
fn every_code_is_documented_once_and_nothing_else_is() {
    let documented: Vec<_> = DOCS
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1)?.strip_prefix('`')?.strip_suffix('`'))
        .collect();
    let mut sorted = documented.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, codes());
}

#[test]
fn no_code_stands_for_two_refusals() {
    let codes = codes();
    let mut once = codes.clone();
    once.dedup();
    assert_eq!(codes, once);
}
