//! What gateways are told: the feed, proofs and bindings.

use std::sync::Arc;

use control_api::internal::Plane;
use domain::{History, Position, SnapshotVersion, snapshot::EntityKind};
use futures::StreamExt;
use link::log::{ControlPlane, FeedMessage};
use serde_json::json;

use crate::support::{World, call, edge, post};

fn plane(world: &World) -> Plane {
    Plane::new(Arc::clone(&world.app.hub))
}

#[tokio::test]
async fn the_feed_brings_everything_and_then_what_changes() {
    let world = World::new().await;
    let plane = plane(&world);
    world.app.hub.tick().await.unwrap();
    let mut feed = plane.feed(None).await.unwrap();
    let Some(Ok(FeedMessage::Full { changes, last: true, version })) = feed.next().await else { panic!("no state") };
    let kinds: Vec<EntityKind> = changes.iter().map(|change| change.key.kind).collect();
    for kind in [EntityKind::Project, EntityKind::Tenant, EntityKind::Role, EntityKind::Issuer, EntityKind::Service] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
    let staff = world.staff().await;
    let body = json!({ "name": "orders", "peers": ["192.0.2.1:80"], "plaintext": true });
    post("/v1/upstreams?wait=applied", &body).bearer(&staff).send(&world.admin).await.expect(201);
    loop {
        match feed.next().await.unwrap().unwrap() {
            FeedMessage::Delta { changes, revision: next } => {
                assert!(next > version.revision);
                assert_eq!(changes[0].key.kind, EntityKind::Upstream);
                break;
            }
            FeedMessage::Heartbeat { .. } => {}
            FeedMessage::Full { .. } => panic!("the state was sent again"),
        }
    }
}

#[tokio::test]
async fn a_feed_resumes_where_its_reader_was() {
    let world = World::new().await;
    let plane = plane(&world);
    let ticked = world.app.hub.tick().await.unwrap();
    let (history, revision) = (ticked.head.history, ticked.revision);
    let held = SnapshotVersion { history, revision };
    let mut feed = plane.feed(Some(held)).await.unwrap();
    let next = feed.next().await.unwrap().unwrap();
    assert!(matches!(next, FeedMessage::Heartbeat { revision: at } if at == revision), "{next:?}");
    let ahead = SnapshotVersion { revision: revision + 1000, ..held };
    let lost = SnapshotVersion { history: History(history.0 ^ 1), ..held };
    for unknown in [ahead, lost] {
        let mut feed = plane.feed(Some(unknown)).await.unwrap();
        let first = feed.next().await.unwrap().unwrap();
        assert!(matches!(first, FeedMessage::Full { version, .. } if version == held), "{first:?}");
    }
}

#[tokio::test]
async fn a_narrowing_raises_the_revision_that_must_be_served() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let plane = plane(&world);
    let before = plane.prove(Position::default(), &edge()).await.unwrap().min_revision;
    call("POST", &format!("/v1/tenants/{tenant}/suspend")).bearer(&staff).send(&world.admin).await.expect(202);
    assert!(plane.prove(Position::default(), &edge()).await.unwrap().min_revision > before);
}

#[tokio::test]
async fn an_unknown_position_is_told_to_read_everything_anew() {
    let world = World::new().await;
    let staff = world.staff().await;
    let tenant = world.tenant(&staff, "acme").await;
    let ada = world.user(&staff, &tenant, "ada", &["member"]).await;
    let plane = plane(&world);
    let head = plane.prove(Position::default(), &edge()).await.unwrap().head;
    assert!(!plane.prove(head, &edge()).await.unwrap().resync);
    let lost = Position { tag: domain::Tag(head.tag.0 ^ 1), ..head };
    plane.facts_after(lost).await.unwrap_err();
    assert!(plane.prove(lost, &edge()).await.unwrap().resync);
    // Who was there read what this database never held: it was restored, and its numbers are of another history now.
    assert!(plane.prove(head, &edge()).await.unwrap().resync);
    let head = plane.live_facts().await.unwrap().head;
    assert_ne!(head.history, lost.history);
    assert!(!plane.prove(head, &edge()).await.unwrap().resync);
    let bindings = plane.bindings(tenant.parse().unwrap(), ada.parse().unwrap()).await.unwrap();
    assert!(bindings.active);
    assert_eq!(bindings.roles, [domain::model::builtin::MEMBER]);
}
