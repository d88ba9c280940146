//! Every operation of the description, asked by who may not: another tenant's administrator, and each role.
//!
//! Nothing here names what is asked: what is mounted is. Each test writes a report that is committed
//! (`control-api/tests/reports/`), so that a new operation shows in review what it answers to whom, and what it costs.

mod beside;
mod boundary;
mod examples;
mod operations;
mod roles;
mod statements;
mod tenant;
mod versions;

use std::path::Path;

/// Lines of `exceptions.txt` under a heading, without their reasons. Changed by hand only.
fn exceptions(heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports/exceptions.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let section =
        text.split("\n[").find_map(|part| part.trim_start_matches('[').strip_prefix(&format!("{heading}]\n")));
    let lines = section.unwrap_or_else(|| panic!("exceptions.txt has no [{heading}]")).lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let of = |line: &str| {
        let (name, reason) = line.split_once(" # ").unwrap_or_else(|| panic!("{line}: why?"));
        assert!(!reason.trim().is_empty(), "{line}: why?");
        name.trim().to_owned()
    };
    lines.map(of).collect()
}

/// Compares a report with the committed one; writes it with `BLESS=1`.
pub(crate) fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reports").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "tests/reports/{name} is not what was found: run `make bless` and look at the change");
}
