//! A real browser: Debian's Chromium with a virtual authenticator, driven by playwright-core (`scripts/setup.sh --services` installs
//! both).

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::node::Node;

/// Runs a script of `tests/browser` with what it is asked; answers the line that it prints.
fn browse(script: &str, asked: &Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let run = Command::new("node").current_dir(folder).arg(script).arg(asked.to_string()).output().unwrap();
    let (out, complaint) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{script}: run `scripts/setup.sh --services` first\n{complaint}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{script}: {error} in {out}\n{complaint}"))
}

fn chromium() -> PathBuf {
    std::env::var_os("CHROMIUM").map_or_else(|| "/usr/bin/chromium".into(), PathBuf::from)
}

fn claims(token: &Value) -> Value {
    let payload = token.as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_registers_a_passkey_and_signs_in_with_it_at_its_own_hostname_alone() {
    let node = Node::start();
    let port = node.address("edge_https").port();
    let users = node.tenant("acme")["users"].clone();
    let user = users.as_array().unwrap().iter().find(|user| user["role"] == "member").unwrap();
    let asked = json!({
        "base": format!("https://acme.localhost:{port}"), "other": format!("https://globex.localhost:{port}"),
        "page": "/demo/public/page", "username": user["username"], "password": user["password"],
        "chromium": chromium(),
    });
    let seen = tokio::task::spawn_blocking(move || browse("passkeys.mjs", &asked)).await.unwrap();
    assert_eq!(seen["registered"]["status"], 201, "{seen}");
    assert_eq!(seen["registered"]["body"]["rp_id"], "acme.localhost");
    for sign_in in ["first", "second"] {
        assert_eq!(seen[sign_in]["status"], 200, "{seen}");
        let said = claims(&seen[sign_in]["body"]["access_token"]);
        assert_eq!(said["acr"], "aal2", "{said}");
        assert!(said["amr"].as_array().unwrap().contains(&json!("mfa")), "{said}");
    }
    let [kept] = &seen["credentials"].as_array().unwrap()[..] else { panic!("{seen}") };
    assert_eq!((&kept["rpId"], &kept["resident"]), (&json!("acme.localhost"), &json!(true)));
    assert!(seen["unverified"].as_str().unwrap().contains("NotAllowedError"), "{seen}");
    assert_eq!(seen["elsewhere"], "SecurityError", "another hostname's page gets no signature for this one");
}
