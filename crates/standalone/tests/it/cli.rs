//! `portcullis RESOURCE VERB` against a running node: what is printed, where to, and with which exit code.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{node::Node, process::free_port};

/// The command, typed by the platform's administrator of a node.
pub(crate) struct Operator<'n> {
    node: &'n Node,
    variables: Vec<(&'static str, String)>,
}

/// What a command left behind.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl<'n> Operator<'n> {
    pub(crate) fn of(node: &'n Node) -> Self {
        let admin = &node.facts["platform_admin"];
        let text = |name: &str| admin[name].as_str().unwrap().to_owned();
        let variables = vec![("PORTCULLIS_USERNAME", text("username")), ("PORTCULLIS_PASSWORD", text("password"))];
        Self { node, variables }
    }

    /// Somebody who is known only by what stands in the file of contexts.
    pub(crate) fn unknown(node: &'n Node) -> Self {
        Self { node, variables: Vec::new() }
    }

    fn contexts(&self) -> PathBuf {
        self.node.folder.path().join("config/contexts.json")
    }

    fn url(&self) -> String {
        format!("http://{}", self.node.address("control_api"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(arguments).env_clear().env("PORTCULLIS_CONTEXT_FILE", self.contexts());
        command.env("PORTCULLIS_URL", self.url()).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// With a text on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Done::of(child.wait_with_output().unwrap())
    }

    /// What a command that succeeds prints.
    pub(crate) fn out(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {}", done.err);
        done.out
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let out = self.out(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }
}

impl Done {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

#[tokio::test]
async fn a_role_is_made_once_read_replaced_in_part_by_version_listed_and_deleted() {
    let node = Node::start();
    let operator = Operator::of(&node);
    let create = ["roles", "create", "--tenant-id", "acme", "--name", "reader", "--permissions", "demo:order:list"];
    let create = [&create[..], &["--permissions", "demo:order:get", "--idempotency-key", "k1"]].concat();
    let made = operator.json(&create);
    assert_eq!(made["permissions"], serde_json::json!(["demo:order:list", "demo:order:get"]));
    let id = made["id"].as_str().unwrap();
    assert_eq!(operator.json(&create)["id"], id, "the same key makes nothing new");

    let read = operator.json(&["roles", "get", id, "--tenant-id", "acme"]);
    let version = read["version"].as_u64().unwrap().to_string();
    let update = ["roles", "update", id, "--tenant-id", "acme", "--description", "reads"];
    let changed = operator.json(&update);
    assert_eq!(changed["permissions"], made["permissions"], "what is not named stays");
    assert_eq!(changed["description"], "reads");
    let stale = operator.run(&[&update[..], &["--if-version", &version]].concat());
    assert_eq!((stale.code, stale.out.as_str()), (4, ""), "{}", stale.err);
    assert!(stale.err.contains("412"), "{}", stale.err);

    // What was read is a body, of the version that it says.
    let mut edited = operator.json(&["roles", "get", id, "--tenant-id", "acme"]);
    edited["description"] = "edited".into();
    let body = edited.to_string();
    let replace = ["roles", "update", id, "--tenant-id", "acme", "--body", "-"];
    let done = operator.run_with(&replace, &body);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(operator.run_with(&replace, &body).code, 4, "it was changed since it was read");

    let ids = operator.out(&["roles", "list", "--tenant-id", "acme", "--quiet"]);
    assert!(ids.lines().any(|line| line == id), "{ids}");
    assert_eq!(operator.out(&["roles", "list", "--tenant-id", "acme", "-q", "--limit", "1"]).lines().count(), 1);
    let table = operator.out(&["roles", "list", "--tenant-id", "acme"]);
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "NAME", "SCOPE", "BUILTIN", "ADMIN", "PERMISSIONS"]);
    assert!(lines.any(|line| line.contains("reader") && line.contains("demo:order:list,demo:order:get")), "{table}");
    let lines = operator.out(&["roles", "list", "--tenant-id", "acme", "-o", "jsonl"]);
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok_and(|it| it["id"].is_string())));

    assert_eq!(operator.out(&["roles", "delete", id, "--tenant-id", "acme"]), "");
    let gone = operator.run(&["roles", "get", id, "--tenant-id", "acme"]);
    assert_eq!(gone.code, 3, "{}", gone.err);
}

#[tokio::test]
async fn what_is_refused_is_said_with_its_field_and_request_on_stderr_and_has_its_exit_code() {
    let node = Node::start();
    let operator = Operator::of(&node);
    let wrong = operator.run(&["tenants", "create", "--slug", "x", "--name", "x", "--customer-id", "nobody"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (2, ""));
    for part in ["tenants create: 422", "invalid", "/", "request id "] {
        assert!(wrong.err.contains(part), "{part}: {}", wrong.err);
    }
    let code = |arguments: &[&str]| operator.run(arguments).code;
    assert_eq!(code(&["tenants", "create", "--slug", "x"]), 2, "what is needed is not there");
    assert_eq!(code(&["tenants", "fly", "acme"]), 2);
    assert_eq!(code(&["tenants", "list", "--password", "x"]), 2, "no secret is an argument");
    assert_eq!(code(&["tenants", "get", "nobody"]), 3);
    assert_eq!(code(&["tenants", "delete", ".."]), 2);
    assert_eq!(code(&["tenants", "get", "../customers"]), 2);
    assert_eq!(code(&["tenants", "list", "--server", "http://192.0.2.1"]), 2, "a password is not sent in the clear");
    let nowhere = format!("http://{}", free_port());
    assert_eq!(code(&["tenants", "list", "--server", &nowhere]), 5);

    let file = node.folder.path().join("wrong");
    std::fs::write(&file, "Wrong-password-1\n").unwrap();
    let refused = operator.run(&["tenants", "list", "--password-file", file.to_str().unwrap()]);
    assert_eq!(refused.code, 6, "{}", refused.err);
    assert!(!refused.err.contains("Wrong-password-1"));
    let nobody = Operator::unknown(&node).run(&["tenants", "list"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.contains("nothing to sign in with"), "{}", nobody.err);
}

#[tokio::test]
async fn a_tenant_is_known_by_its_slug_and_changes_as_the_edge_sees_it() {
    let node = Node::start();
    let operator = Operator::of(&node);
    let acme = operator.json(&["tenants", "get", "acme"]);
    assert_eq!(acme["id"], node.tenant("acme")["id"]);
    let suspended = operator.json(&["tenants", "suspend", "acme", "--wait", "applied"]);
    assert_eq!(suspended["status"], "suspended");
    let answer = node.get("acme.localhost", "/demo/public/x").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    operator.out(&["tenants", "resume", "acme"]);

    operator.out(&["tenants", "update", "acme", "--plan", "gold"]);
    assert_eq!(operator.json(&["tenants", "get", "acme"])["plan"], "gold");
    operator.out(&["tenants", "update", "acme", "--clear", "plan"]);
    assert_eq!(operator.json(&["tenants", "get", "acme"])["plan"], Value::Null);

    let tested =
        operator.json(&["routes", "test", "--host", "acme.localhost", "--method", "GET", "--path", "/demo/orders"]);
    assert_eq!(tested["permission"], "demo:order:list");
    let lint = operator.run(&["routes", "lint"]);
    assert!(lint.code <= 1 && lint.out.contains("open_to_write"), "{} {}", lint.out, lint.err);
    // The demo's authority is young: nothing is amiss until one asks about a time in which it will have ended.
    assert_eq!(operator.run(&["certs", "check"]).out.lines().count(), 1);
    let ends = operator.run(&["certs", "check", "--within", "36500d", "-q"]);
    assert_eq!(ends.code, 1, "{}", ends.err);
    assert!(ends.out.lines().any(|line| line == "acme.localhost"), "{}", ends.out);
}

#[tokio::test]
async fn a_key_is_made_rotated_and_revoked_and_its_text_shown_when_it_is_made() {
    let node = Node::start();
    let operator = Operator::of(&node);
    let member = operator.out(&["users", "list", "acme", "--search", "member", "-q"]);
    let made =
        operator.json(&["api-keys", "create", "--tenant-id", "acme", "--owner-id", member.trim(), "--name", "ci"]);
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let call = async |key: &str| node.get("acme.localhost", "/demo/me").bearer_auth(key).send().await.unwrap().status();
    assert_eq!(call(secret).await, 200);
    let rotated = operator.json(&["api-keys", "rotate", id, "--overlap", "1h"]);
    let next = rotated["secret"].as_str().unwrap();
    assert_ne!(next, secret);
    assert_eq!((call(secret).await, call(next).await), (200.try_into().unwrap(), 200.try_into().unwrap()));
    let list = operator.out(&["api-keys", "list", "--tenant-id", "acme"]);
    assert!(list.contains(id) && !list.contains(secret) && !list.contains(next));
    operator.out(&["api-keys", "revoke", id]);
    assert_eq!((call(secret).await, call(next).await), (401.try_into().unwrap(), 401.try_into().unwrap()));
}

#[tokio::test]
async fn a_session_is_kept_in_a_context_for_its_own_place_until_it_is_ended() {
    let node = Node::start();
    let operator = Operator::of(&node);
    let said = operator.out(&["login"]);
    let kept = std::fs::read_to_string(operator.contexts()).unwrap();
    let token = serde_json::from_str::<Value>(&kept).unwrap()["contexts"]["default"]["tokens"]["access_token"].clone();
    let token = token.as_str().unwrap();
    assert!(!said.contains(token) && !kept.contains(&operator.variables[1].1), "no password is kept");
    assert_eq!(std::fs::metadata(operator.contexts()).unwrap().permissions().mode() & 0o777, 0o600);

    let later = Operator::unknown(&node);
    assert_eq!(later.json(&["tenants", "get", "acme"])["slug"], "acme");
    assert!(later.out(&["context", "list"]).contains("* default"));
    let elsewhere = later.run(&["tenants", "list", "--server", "http://127.0.0.1:1"]);
    assert!(elsewhere.err.contains("nothing to sign in with"), "{}", elsewhere.err);

    later.out(&["logout"]);
    assert!(!std::fs::read_to_string(operator.contexts()).unwrap().contains(token));
    let file = node.folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    let ended = later.run(&["tenants", "list", "--token-file", file.to_str().unwrap()]);
    assert_eq!(ended.code, 6, "the session has ended, wherever its token went: {}", ended.err);

    // A tenant's administrator comes through the edge.
    let acme = node.tenant("acme");
    let admin = acme["users"].as_array().unwrap().iter().find(|user| user["role"] == "admin").unwrap();
    let server = format!("https://acme.localhost:{}", node.address("edge_https").port());
    let ca = node.facts["ca"].as_str().unwrap();
    let name = admin["username"].as_str().unwrap();
    let set = ["context", "set", "acme", "--server", &server, "--ca", ca, "--door", "tenant", "--as", name];
    later.out(&set);
    later.out(&["context", "use", "acme"]);
    let mut tenant = Operator::unknown(&node);
    tenant.variables.push(("PORTCULLIS_PASSWORD", admin["password"].as_str().unwrap().to_owned()));
    let mut list = tenant.command(&["tenant-users", "list"]);
    let list = Done::of(list.env_remove("PORTCULLIS_URL").output().unwrap());
    assert_eq!(list.code, 0, "{}", list.err);
    assert!(list.out.contains(name), "{}", list.out);
}

#[tokio::test]
async fn an_export_of_the_trail_is_written_as_it_comes_and_verifies() {
    let node = Node::start();
    let operator = Operator::of(&node);
    operator.out(&["tenants", "update", "acme", "--name", "Acme & Sons"]);
    let events = operator.json(&["audit", "list", "--tenant-id", "acme", "--action", "tenant.updated"]);
    assert_eq!(events[0]["target"]["name"], "acme", "{events}");
    let export = operator.out(&["audit", "export", "--tenant-id", "acme"]);
    let file = node.folder.path().join("export.jsonl");
    std::fs::write(&file, export).unwrap();
    let verified = operator.out(&["audit", "verify", file.to_str().unwrap()]);
    assert!(verified.starts_with("the chain holds from its beginning"), "{verified}");
    let gateways = operator.json(&["gateways", "list"]);
    assert_eq!(gateways.as_array().unwrap().len(), 1, "{gateways}");
}

#[tokio::test]
async fn users_of_another_system_are_taken_over_line_by_line_and_all_of_them_are_listed() {
    let node = Node::start();
    let operator = Operator::of(&node);
    let mut lines: Vec<String> = (0..520).map(|n| format!("{{\"username\": \"imported-{n}\"}}")).collect();
    lines[7] = r#"{"username": "wrong", "password_hash": "plain text"}"#.into();
    let file = node.folder.path().join("users.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let import = ["users", "import", file.to_str().unwrap(), "--tenant", "acme"];
    let listed = || operator.out(&["users", "list", "acme", "--search", "imported-", "-q"]).lines().count();

    let rehearsed = operator.run(&[&import[..], &["--dry-run"]].concat());
    assert_eq!(rehearsed.out.trim(), "dry run: would be 519 created, 0 present, 1 refused", "{}", rehearsed.err);
    assert_eq!(listed(), 0);
    let done = operator.run(&import);
    assert_eq!((done.code, done.out.trim()), (1, "519 created, 0 present, 1 refused"), "{}", done.err);
    assert!(done.err.contains("line 8: validation_failed") && !done.err.contains("plain text"), "{}", done.err);
    assert_eq!(listed(), 519, "a list goes on over its pages");
    assert_eq!(operator.run(&import).out.trim(), "0 created, 519 present, 1 refused");
}

#[test]
fn shells_complete_every_resource() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["role-bindings", "entitlements", "idempotency-key", "break-glass", "explain"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
