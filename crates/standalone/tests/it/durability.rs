//! `kill -9` in the middle of writes: every acknowledged change is there again, and nothing half done.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::node::Node;

#[tokio::test]
async fn every_acknowledged_change_survives_a_kill_in_the_middle_of_writes() {
    let node = Node::start();
    let admin = node.login("acme", "admin").await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let create = node.edge(Method::POST, "acme.localhost", "/api/v1/tenant/users").bearer_auth(&admin.access);
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                for n in 0.. {
                    let name = format!("user-{writer}-{n}");
                    let body = json!({ "username": name, "email": format!("{name}@acme.example") });
                    match create.try_clone().unwrap().json(&body).send().await {
                        Ok(answer) if answer.status() == StatusCode::CREATED => acknowledged.lock().unwrap().push(name),
                        // The process is gone, or its edge lost its control plane a moment before.
                        _ => break,
                    }
                }
            })
        })
        .collect();
    testkit::eventually("some writes are acknowledged", async || acknowledged.lock().unwrap().len() >= 20).await;
    let folder = node.kill();
    for writer in writers {
        writer.await.unwrap();
    }

    let again = Node::start_in(folder, &[]);
    let admin = again.login("acme", "admin").await;
    let list = again.get("acme.localhost", "/api/v1/tenant/users?limit=500").bearer_auth(&admin.access);
    let users: Value = list.send().await.unwrap().json().await.unwrap();
    let names: HashSet<_> =
        users["items"].as_array().unwrap().iter().filter_map(|user| user["username"].as_str()).collect();
    for name in acknowledged.lock().unwrap().iter() {
        assert!(names.contains(name.as_str()), "{name} was acknowledged");
    }
    // What is there is whole: each change has its audit row, and the chain of them holds.
    let audit = again.get("acme.localhost", "/v1/audit?limit=500").bearer_auth(&admin.access);
    let audit: Value = audit.send().await.unwrap().json().await.unwrap();
    let created: HashSet<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["action"] == "user.created")
        .filter_map(|event| event["target"]["name"].as_str())
        .collect();
    for name in names.iter().filter(|name| name.starts_with("user-")) {
        assert!(created.contains(*name), "{name} has its audit row: {created:?}");
    }
}
