//! A gateway process takes the place of another while it is busy, and a revocation is waited for by both.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use reqwest::{Method, StatusCode};
use serde_json::json;
use testkit::{
    eventually,
    raw::{Connection, Response},
};

use crate::{
    probing::cluster::{Cluster, world},
    world::HOST,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_during_an_upgrade_and_none_is_accepted_after_a_revocation_during_it() {
    let (world, recorder) = world().await;
    let mut cluster = Cluster::start(&world, recorder, 1).await;
    let (token, staff) = (cluster.sign_in().await, cluster.staff().await);
    let strict = format!("GET /strict HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let ca = world.edge_ca();
    let connect = || Connection::tls(world.https, HOST, &ca, None);

    // A client that is never idle, and connections that are until they are needed.
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = tokio::spawn({
        let (client, stop, served) = (world.client_at(world.https), Arc::clone(&stop), Arc::clone(&served));
        let (url, token) = (format!("https://{HOST}:{}/strict", world.https.port()), token.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.get(&url).bearer_auth(&token).send().await.unwrap();
                assert_eq!(answer.status(), StatusCode::OK);
                served.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut kept = connect().await.unwrap();
        assert_eq!(Response::parse(&kept.exchange(strict.as_bytes()).await.unwrap()).status, 200);
        idle.push(kept);
    }

    let mut old = cluster.take_over(0);
    // The old process tells its clients to come again as soon as the new one serves.
    let mut told = idle.pop().unwrap();
    eventually("the new process serves", async || {
        let answer = Response::parse(&told.exchange(strict.as_bytes()).await.unwrap());
        assert_eq!(answer.status, 200);
        answer.header("connection") == Some("close")
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    load.await.expect("no request failed");
    assert!(served.load(Ordering::Relaxed) > 0);
    let mut new = connect().await.unwrap();
    assert_eq!(Response::parse(&new.exchange(strict.as_bytes()).await.unwrap()).status, 200);

    staff.send(Method::POST, cluster.revoke(), &json!(null)).await;
    // Those that are kept are still the old process's.
    for mut kept in idle.into_iter().chain([new]) {
        let answer = Response::parse(&kept.exchange(strict.as_bytes()).await.unwrap());
        assert_eq!((answer.status, answer.json()["code"].as_str()), (401, Some("token_revoked")));
    }
    eventually("the old process ends by itself", async || old.has_ended()).await;
    cluster.end().await;
}
