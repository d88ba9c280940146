//! What operators do by command: restoring a backup, rotating keys, sealing anew.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    installation::Installation,
    probing::cluster::{Cluster, world},
    staff::Admin,
    world::World,
};

#[tokio::test]
async fn a_gateway_finds_its_way_into_the_history_of_a_restored_dump() {
    let (world, recorder) = world().await;
    let mut cluster = Cluster::start(&world, recorder, 1).await;
    let ask = async |token: &str| world.call(Method::GET, "/strict").bearer_auth(token).send().await.unwrap().status();
    let backup = cluster.backup();
    let lost = cluster.sign_in().await;
    assert_eq!(ask(&lost).await, StatusCode::OK);
    cluster.staff().await.send(Method::POST, cluster.revoke(), &json!(null)).await;
    assert_eq!(ask(&lost).await, StatusCode::UNAUTHORIZED);

    let said = cluster.restore(&backup).await;
    assert_eq!(said["begun"], true, "{said}");
    // The log counts on from the backup, so the gateway has read further than there is, in a history that is over.
    let token = cluster.sign_in().await;
    eventually("the gateway proves by the new history", async || ask(&token).await == StatusCode::OK).await;
    let staff = Admin::sign_in(cluster.followed()).await;
    staff.send(Method::POST, cluster.revoke(), &json!(null)).await;
    assert_eq!(ask(&token).await, StatusCode::UNAUTHORIZED);
    cluster.end().await;
}

#[tokio::test]
async fn keys_are_rotated_and_secrets_sealed_anew_by_command() {
    let world = World::new().await;
    let mut installation = Installation::new(&world, "redis://127.0.0.1:1".into()).await;
    let replica = installation.replica("control-api");
    let run = |installation: &Installation<'_>, command: &[&str]| -> Value {
        serde_json::from_str(&installation.command(&replica, command)).unwrap()
    };
    assert_eq!(run(&installation, &["bootstrap"]), json!({ "platform_admin": null }), "its password was given");
    assert!(installation.command(&replica, &["migrate", "status"]).contains("up to date"));

    let pending = run(&installation, &["keys", "rotate", "--project", "cloud"]);
    assert_eq!((&pending["state"], &pending["purpose"]), (&json!("pending"), &json!("tokens")));
    let active = run(&installation, &["keys", "rotate", "--project", "root", "--now"]);
    assert_eq!(active["state"], "active");
    assert_ne!(active["kid"], pending["kid"]);

    assert_eq!(run(&installation, &["master-key", "status"]), json!({ "resealed": 0, "left": 0 }));
    let replica_of_tomorrow = installation.with_another_master_key("control-api-2");
    let run = |command: &[&str]| -> Value {
        serde_json::from_str(&installation.command(&replica_of_tomorrow, command)).unwrap()
    };
    let left = run(&["master-key", "status"])["left"].as_u64().unwrap();
    assert!(left > 0, "the keys made until now");
    assert_eq!(run(&["master-key", "reseal"]), json!({ "resealed": left, "left": 0 }));
    assert_eq!(run(&["master-key", "reseal"]), json!({ "resealed": 0, "left": 0 }));
    // Without the older key nothing is lost: everything can be opened by the new one.
    let alone = installation.without_older_master_keys("control-api-3");
    let process = installation.start(&alone);
    drop(Admin::sign_in(alone.admin).await);
    process.terminate();
    installation.database.drop().await;
}
