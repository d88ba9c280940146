//! `kill -9` in the middle of writes, of the control API and of PostgreSQL: every acknowledged change is there again, and
//! nothing half done.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    database::Database, installation::Installation, node::Node, postgres::Postgres, probing::redis::Redis,
    staff::Admin, world::World,
};

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

/// Asks until it is answered with success.
async fn created(request: RequestBuilder) -> Option<Value> {
    let answer = request.send().await.ok().filter(|answer| answer.status() == StatusCode::CREATED)?;
    answer.json().await.ok()
}

/// A dedicated tenant is its project, its administrator, its row in the trail and its provisioning.
#[tokio::test]
async fn a_tenant_is_made_whole_or_not_at_all_whenever_the_node_is_killed() {
    let node = Node::start();
    let staff = node.staff().await.access;
    let mut customers = Vec::new();
    for n in 0..3 {
        let body = json!({ "code": format!("killed-{n}"), "name": "x" });
        let made = created(node.admin(Method::POST, "/v1/customers").bearer_auth(&staff).json(&body)).await.unwrap();
        let id = made["id"].as_str().unwrap().to_owned();
        let kyc = node.admin(Method::PUT, &format!("/v1/customers/{id}/kyc")).bearer_auth(&staff);
        assert_eq!(kyc.json(&json!({ "status": "completed" })).send().await.unwrap().status(), 200);
        customers.push(id);
    }
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = customers
        .into_iter()
        .enumerate()
        .map(|(writer, customer)| {
            let create = node.admin(Method::POST, "/v1/tenants").bearer_auth(&staff);
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                for n in 0.. {
                    let slug = format!("killed-{writer}-{n}");
                    let body = json!({
                        "slug": slug, "name": slug, "customer_id": customer, "status": "active",
                        "admin_email": format!("admin@{slug}.example"), "issuer": format!("https://{slug}.localhost"),
                    });
                    let Some(made) = created(create.try_clone().unwrap().json(&body)).await else { break };
                    acknowledged.lock().unwrap().push((slug, made));
                }
            })
        })
        .collect();
    eventually("some tenants are made", async || acknowledged.lock().unwrap().len() >= 6).await;
    let folder = node.kill();
    for writer in writers {
        writer.await.unwrap();
    }

    let again = Node::start_in(folder, &[]);
    let staff = again.staff().await.access;
    let read = async |path: String| -> Value {
        let answer = again.admin(Method::GET, &path).bearer_auth(&staff).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    };
    let acknowledged = acknowledged.lock().unwrap().clone();
    for (slug, made) in &acknowledged {
        assert_eq!(read(format!("/v1/tenants/by-slug/{slug}")).await["id"], made["id"], "{slug} was acknowledged");
    }
    let tenants = read("/v1/tenants?limit=500".into()).await;
    let killed = |it: &&Value| it["slug"].as_str().is_some_and(|slug| slug.starts_with("killed-"));
    let there: Vec<_> = tenants["items"].as_array().unwrap().iter().filter(killed).collect();
    assert!(there.len() >= acknowledged.len());
    for tenant in there {
        let id = tenant["id"].as_str().unwrap();
        assert_eq!(
            read(format!("/v1/projects/{}", tenant["project_id"].as_str().unwrap())).await["slug"],
            tenant["slug"]
        );
        let members = read(format!("/v1/tenants/{id}/members")).await;
        assert_eq!(members["items"].as_array().unwrap().len(), 1, "{tenant} has its administrator: {members}");
        let trail = read(format!("/v1/audit?tenant_id={id}&action=tenant.created")).await;
        assert_eq!(trail["items"].as_array().unwrap().len(), 1, "{tenant} has its row in the trail");
        // What is left to do of it is done by whoever runs next.
        eventually("its provisioning comes to its end", async || {
            let steps = read(format!("/v1/tenants/{id}/provisioning")).await;
            !steps["steps"].as_array().unwrap().is_empty() && steps["next_at"].is_null()
        })
        .await;
    }
}

// With threads: the writers go on while the database is down, which is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_change_survives_a_crash_of_postgresql_under_writes() {
    let world = World::new().await;
    let redis = Redis::start(world.folder.path()).await;
    let postgres = Postgres::start();
    let database = Database::on(postgres.url.clone()).await;
    let installation = Installation::over(&world, format!("redis://{}", redis.address), database);
    let replica = installation.replica("one");
    let process = installation.start(&replica);
    let admin = Arc::new(Admin::sign_in(replica.admin).await);
    let acknowledged = Arc::new(Mutex::new(Vec::<String>::new()));
    let (refused, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (admin, acknowledged) = (Arc::clone(&admin), Arc::clone(&acknowledged));
            let (refused, over) = (Arc::clone(&refused), Arc::clone(&over));
            tokio::spawn(async move {
                for n in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let code = format!("crash-{writer}-{n}");
                    if admin.is_done(Method::POST, "/v1/customers", &json!({ "code": code, "name": "x" })).await {
                        acknowledged.lock().unwrap().push(code);
                    } else {
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    }
                }
            })
        })
        .collect();
    let reach = async |many: usize| {
        eventually("writes are acknowledged", async || acknowledged.lock().unwrap().len() >= many).await;
    };
    reach(20).await;
    postgres.crash();
    let before = acknowledged.lock().unwrap().len();
    reach(before + 20).await;
    over.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(refused.load(Ordering::Relaxed) > 0, "it was down while there were writes");

    let mut there = HashSet::new();
    let mut cursor = String::new();
    loop {
        let page = admin.send(Method::GET, &format!("/v1/customers?limit=500{cursor}"), &Value::Null).await;
        there.extend(page["items"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for code in acknowledged.lock().unwrap().iter() {
        assert!(there.contains(code), "{code} was acknowledged");
    }
    let chain = admin.send(Method::GET, "/v1/audit/verify", &Value::Null).await;
    assert_eq!(chain["intact"], true, "{chain}");
    process.terminate();
}
