//! The `gateway` command, as a shell sees it.

use std::{
    path::Path,
    process::{Command, Output},
};

fn gateway(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway")).args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn check_names_every_mistake_by_key_path_and_exits_with_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("gateway.yaml"),
        "listen:\n  https: nowhere\n  htps: 1\nfeed: {}\nlimits: { tenant: { rps: 0, burst: 1 } }\n",
    )
    .unwrap();
    for arguments in [["check", "gateway.yaml"], ["--config", "gateway.yaml"]] {
        let output = gateway(&arguments, folder.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("listen.htps"), "{said}");
        assert!(said.contains("limits.tenant.rps"), "{said}");
    }
}

#[test]
fn check_wants_exactly_one_feed() {
    let folder = tempfile::tempdir().unwrap();
    for feed in ["{}", "{ file: a.yaml, control_api: { url: \"https://x:1\" } }"] {
        std::fs::write(folder.path().join("gateway.yaml"), format!("feed: {feed}\n")).unwrap();
        let output = gateway(&["check", "gateway.yaml"], folder.path());
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains("feed: "));
    }
}

#[test]
fn check_reads_the_declarative_file_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gateway.yaml"), "feed: { file: edge.yaml }\n").unwrap();
    std::fs::write(folder.path().join("edge.yaml"), "tenants:\n  - { slug: acme }\n").unwrap();
    let output = gateway(&["check", "gateway.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(folder.path().join("edge.yaml"), "tenants:\n  - { slug: \"A B\" }\n").unwrap();
    let output = gateway(&["check", "gateway.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("edge.yaml:2"));
}

#[test]
fn a_missing_file_and_an_unknown_option_exit_with_2_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = gateway(&["--config", "absent.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    assert_eq!(gateway(&["--unknown"], folder.path()).status.code(), Some(2));
    assert_eq!(gateway(&["--version"], folder.path()).status.code(), Some(0));
}
