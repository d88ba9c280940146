//! A disk without room: what would write is refused and says so, what reads and the edge go on, and with room again
//! everything does. What was acknowledged is there.
//!
//! The room is taken by a limit on the size of files (RLIMIT_FSIZE, setrlimit(2)), which needs no right and can be lifted
//! again while the process runs. It ends a process by SIGXFSZ unless that is ignored, so a shell ignores it first.

use std::{
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::node::{Node, echo};

fn node() -> Node {
    let folder = tempfile::tempdir().unwrap();
    let mut start = Command::new("bash");
    start.args(["-c", "trap '' XFSZ; exec \"$@\"", "bash", env!("CARGO_BIN_EXE_portcullis"), "dev", "--data-dir"]);
    start.arg(folder.path().join("data"));
    Node::started(start, folder)
}

/// How large a file of the node may become.
fn room(node: &Node, bytes: &str) {
    let arguments = ["--pid", &node.pid().to_string(), &format!("--fsize={bytes}:")];
    let limited = Command::new("prlimit").args(arguments).output().unwrap();
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stderr));
}

#[tokio::test]
async fn without_room_writes_are_refused_reads_and_the_edge_go_on_and_nothing_acknowledged_is_lost() {
    let node = node();
    let staff = node.staff().await.access;
    let member = node.login("acme", "member").await.access;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|writer| {
            let create = node.admin(Method::POST, "/v1/customers").bearer_auth(&staff);
            let (acknowledged, refusals) = (Arc::clone(&acknowledged), Arc::clone(&refusals));
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                for n in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let code = format!("full-{writer}-{n}");
                    let request = create.try_clone().unwrap().json(&json!({ "code": code, "name": "x" }));
                    let answer = request.send().await.unwrap();
                    let status = answer.status();
                    if status == StatusCode::CREATED {
                        acknowledged.lock().unwrap().push(code);
                    } else {
                        let body: Value = answer.json().await.unwrap();
                        refusals.lock().unwrap().push((status.as_u16(), body["code"].as_str().unwrap().to_owned()));
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    eventually("some writes are acknowledged", async || acknowledged.lock().unwrap().len() >= 20).await;

    room(&node, "0");
    eventually("writes are refused", async || refusals.lock().unwrap().len() >= 10).await;
    for path in ["/v1/customers", "/v1/tenants", "/v1/audit"] {
        let answer = node.admin(Method::GET, path).bearer_auth(&staff).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    for _ in 0..20 {
        echo(node.get("acme.localhost", "/demo/me").bearer_auth(&member)).await;
        assert_eq!(node.get("acme.localhost", "/demo/public/x").send().await.unwrap().status(), StatusCode::OK);
    }
    for refusal in refusals.lock().unwrap().iter() {
        let known = [(503, "store_unavailable"), (507, "storage_full")];
        assert!(known.contains(&(refusal.0, refusal.1.as_str())), "{refusal:?}");
    }

    room(&node, "unlimited");
    let before = acknowledged.lock().unwrap().len();
    eventually("writes are acknowledged again", async || acknowledged.lock().unwrap().len() >= before + 20).await;
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    node.login("acme", "member").await;

    let again = Node::start_in(node.kill(), &[]);
    let staff = again.staff().await.access;
    let (mut there, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/customers?limit=500{cursor}");
        let page: Value =
            again.admin(Method::GET, &path).bearer_auth(&staff).send().await.unwrap().json().await.unwrap();
        there.extend(page["items"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for code in acknowledged.lock().unwrap().iter() {
        assert!(there.contains(code), "{code} was acknowledged");
    }
    let chain = again.admin(Method::GET, "/v1/audit/verify").bearer_auth(&staff).send().await.unwrap();
    let chain: Value = chain.json().await.unwrap();
    assert_eq!(chain["intact"], true, "{chain}");
}
