//! Starting again, starting twice, and starting with bad input.

use std::process::Stdio;

use crate::node::{Node, command, echo};

#[tokio::test]
async fn a_second_start_finds_its_data_and_prints_the_same_credentials() {
    let first = Node::start();
    let (tenants, admin) = (first.facts["tenants"].clone(), first.facts["platform_admin"].clone());
    let member = first.login("acme", "member").await;
    let (folder, status) = first.interrupt();
    assert!(status.success(), "Ctrl-C ends it cleanly: {status}");
    let second = Node::start_in(folder, &[]);
    assert_eq!(second.facts["tenants"], tenants);
    assert_eq!(second.facts["platform_admin"], admin);
    // A token of the first run holds in the second: keys, sessions and issuers are what they were.
    echo(second.get("acme.localhost", "/demo/me").bearer_auth(&member.access)).await;
    second.login("globex", "admin").await;
}

#[test]
fn one_folder_is_one_nodes() {
    let node = Node::start();
    let output = command(node.folder.path()).args(["--free-ports"]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("in use by another process"), "{complaint}");
    assert_eq!(complaint.trim().lines().count(), 1, "{complaint}");
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut dev = command(folder.path());
    dev.args(["--https-port", &port, "--http-port", "0", "--admin-port", "0", "--internal-port", "0"]);
    let output = dev.args(["--metrics-port", "0", "--echo-port", "0"]).output().unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains(&port), "{complaint}");
    // The log has a line before it: where letters are read that nobody sends.
    let complaints = complaint.trim().lines().filter(|line| !line.contains(" WARN "));
    assert_eq!(complaints.count(), 1, "{complaint}");
}

#[test]
fn a_folder_that_cannot_be_made_is_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data"), "a file").unwrap();
    let output = command(folder.path()).arg("--free-ports").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("data folder"), "{complaint}");
}
