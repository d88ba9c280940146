//! `kill -9` in the middle of writes: every acknowledged change is there again, and nothing half done.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::Node;

#[tokio::test]
async fn every_acknowledged_change_survives_a_kill() {
    let node = Node::start();
    let admin = node.login("acme", "admin").await;
    let mut acknowledged = Vec::new();
    let writes = async {
        for n in 0..200 {
            let name = format!("user{n}");
            let body = json!({ "username": name, "email": format!("{name}@acme.example") });
            let create = node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/users").bearer_auth(&admin.access);
            let Ok(answer) = create.json(&body).send().await else { break };
            assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
            acknowledged.push(name);
            if acknowledged.len() == 20 {
                break;
            }
        }
    };
    writes.await;
    let folder = node.kill();
    let again = Node::start_in(folder, &[]);
    let admin = again.login("acme", "admin").await;
    let list = again.get("acme.localhost", "/api/v1/tenant/users?limit=500").bearer_auth(&admin.access);
    let users: Value = list.send().await.unwrap().json().await.unwrap();
    let names: Vec<_> =
        users["items"].as_array().unwrap().iter().filter_map(|user| user["username"].as_str()).collect();
    for name in &acknowledged {
        assert!(names.contains(&name.as_str()), "{name} was acknowledged");
    }
}
