//! README's walk through the identity routes, pasted as it stands there.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::node::Node;

/// The commands of a section of README.
fn commands(section: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, rest) = readme.split_once(&format!("\n## {section}\n")).expect("the section");
    let (_, rest) = rest.split_once("\n```sh\n").expect("its commands");
    rest.split_once("\n```\n").expect("their end").0.to_owned()
}

#[tokio::test]
async fn the_readmes_walk_leads_from_a_sign_up_to_the_end_of_all_sessions() {
    let node = Node::start();
    let data = node.folder.path().join("data");
    let (edge, admin) = (node.address("edge_https").port(), node.address("control_api").port());
    let walk = commands("Sign in, by hand");
    for said in [".portcullis/", ":8443", ":9080"] {
        assert!(walk.contains(said), "{said}");
    }
    // The ports and the folder of this node, and nothing else, are others than what a reader has.
    let walk = walk.replace(".portcullis/", &format!("{}/", data.display()));
    let walk = walk.replace(":8443", &format!(":{edge}")).replace(":9080", &format!(":{admin}"));
    let run = tokio::task::spawn_blocking(move || {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &walk]).env("PASSKEY_DIR", &data);
        bash.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).output().unwrap()
    });
    let run = run.await.unwrap();
    let (out, complaint) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{out}\n{complaint}");
    let said: Vec<Value> = out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [project, asked, served, passkey, codes, second, over, refused] = &said[..] else {
        panic!("{out}\n{complaint}")
    };
    assert_eq!(project["config"]["access"]["mode"], "open");
    assert_eq!(asked["status"], "accepted");
    assert_eq!(served["headers"]["x-md-global-username"], serde_json::json!(["eve@mail.example"]), "{served}");
    assert_eq!(passkey["rp_id"], "acme.localhost");
    assert_eq!(codes["recovery_codes"].as_array().map(Vec::len), Some(10));
    assert!(second["access_token"].is_string(), "{second}");
    assert_eq!(over["status"], "signed_out");
    assert_eq!((&refused["status"], &refused["code"]), (&serde_json::json!(401), &serde_json::json!("token_revoked")));
}
