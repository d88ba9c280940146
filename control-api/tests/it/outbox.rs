//! What is left in the outbox is done, however often it takes, and by whoever is there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use authz::Scope;
use control_api::{
    App,
    outbox::{Outcome, Patience, Worker, run_due},
};
use domain::{
    Clock, Id, Secret,
    outbox::{NewOutboxEvent, OutboxEvent, OutboxKind},
};
use store::{StoreError, read::*};

use crate::support::World;

/// Fails so often, then succeeds.
struct Postman {
    failures: AtomicUsize,
    sent: AtomicUsize,
}

impl Worker for Postman {
    const KIND: OutboxKind = OutboxKind::Mail;

    async fn attempt(&self, _: &App, event: &OutboxEvent) -> Outcome {
        assert_eq!(event.payload.expose(), "to: ada");
        let left = self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            return Outcome::Again("the server is busy".into());
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        Outcome::Done
    }
}

async fn leave(world: &World) {
    let event = NewOutboxEvent {
        id: Id::new(uuid::Uuid::new_v4()),
        kind: OutboxKind::Mail,
        project_id: None,
        tenant_id: None,
        payload: Secret::new("to: ada".into()),
    };
    let event = &event;
    let left = world
        .app
        .store
        .write_session(Scope::Platform, world.clock.unix_now(), |tx| async move { tx.leave(event).await });
    left.await.map_err(|error: StoreError| error).unwrap();
}

#[tokio::test]
async fn what_fails_is_tried_again_after_a_pause_and_done_once() {
    let world = World::new().await;
    leave(&world).await;
    let postman = Arc::new(Postman { failures: AtomicUsize::new(2), sent: AtomicUsize::new(0) });
    let due = async || run_due(&world.app, &*postman, Patience::USUAL).await.unwrap();
    assert_eq!((due().await, due().await), (1, 0));
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(600));
        assert_eq!(due().await, 1);
    }
    assert_eq!(postman.sent.load(Ordering::Relaxed), 1);
    world.clock.advance(Duration::from_secs(6000));
    assert_eq!(due().await, 0);
}

#[tokio::test]
async fn what_fails_for_too_long_is_given_up() {
    let world = World::new().await;
    leave(&world).await;
    let postman = Postman { failures: AtomicUsize::new(usize::MAX), sent: AtomicUsize::new(0) };
    run_due(&world.app, &postman, Patience::USUAL).await.unwrap();
    assert_eq!(world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (1, 0));
    world.clock.advance(Patience::USUAL.give_up_after);
    run_due(&world.app, &postman, Patience::USUAL).await.unwrap();
    assert_eq!(world.app.store.outbox_counts(OutboxKind::Mail).await.unwrap(), (0, 1));
}
