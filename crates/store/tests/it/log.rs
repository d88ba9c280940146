//! The log, the tick and the change log.

use std::{collections::BTreeMap, time::Duration};

use authz::Scope;
use domain::{
    Fact, History, Position, Seq, SnapshotVersion, Tag,
    model::{RouteOwner, TenantTransition::Suspend},
    snapshot::{Change, EntityKey},
};
use store::{Delta, Standing, Store, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn refuse(store: &Store, exp: domain::Timestamp) {
    let refused = store.write_session(Scope::Platform, NOW, async |tx| tx.refuse_token(fresh(), exp).await);
    refused.await.unwrap();
}

pub(crate) async fn facts_are_numbered_without_gaps_while_everybody_writes(db: Database) {
    let store = world(&db).await;
    let start = store.head().await.unwrap().seq;
    const WRITERS: u64 = 6;
    const EACH: u64 = 15;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    refuse(&store, NOW + DAY).await;
                    // What was committed before a tick began is numbered by the end of it.
                    store.tick(NOW).await.unwrap();
                }
            })
        })
        .collect();
    let seen = tokio::spawn(collect(store.clone(), start, start.0 + WRITERS * EACH));
    for writer in writers {
        writer.await.unwrap();
    }
    let seen = seen.await.unwrap();
    let expected: Vec<u64> = (start.0 + 1..=start.0 + WRITERS * EACH).collect();
    assert_eq!(seen, expected, "a reader that follows the head misses nothing");
    assert_eq!(db.number("SELECT COUNT(*) FROM facts WHERE seq IS NULL").await, 0);
}

/// Follows the log as a gateway does, from where it was to `last`.
async fn collect(store: Store, mut at: Seq, last: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    while at.0 < last {
        for fact in store.facts_after(at, 7).await.unwrap() {
            assert_eq!(fact.seq, at.next(), "no gap");
            at = fact.seq;
            seen.push(at.0);
        }
        tokio::task::yield_now().await;
    }
    seen
}

pub(crate) async fn a_commit_knows_its_revision_after_the_tick(db: Database) {
    let store = world(&db).await;
    let owner = RouteOwner::Service(SHOP);
    let (_, commit) = change!(store, |tx| tx.insert_route(&system(), route(owner, "/a", &[]))).unwrap();
    assert_eq!(store.revision_of(commit).await.unwrap(), None);
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(store.revision_of(commit).await.unwrap(), Some(tick.revision));
    let (_, silent) = change!(store, |tx| tx.insert_user(&system(), user(fresh(), "mia"))).unwrap();
    assert!(!silent.changes_snapshot());
    assert_eq!(store.revision_of(silent).await.unwrap(), Some(tick.revision));
    let idle = store.tick(NOW).await.unwrap();
    assert_eq!((idle.revision, idle.head), (tick.revision, tick.head), "nothing new, no new number");
}

pub(crate) async fn applying_the_changes_gives_the_snapshot(db: Database) {
    let store = world(&db).await;
    let mut applied: BTreeMap<EntityKey, Change> = BTreeMap::new();
    let mut revision = 0;
    let history = store.head().await.unwrap().history;
    let at = |revision| SnapshotVersion { history, revision };
    for step in 0..4 {
        let path = format!("/step/{step}");
        change!(store, |tx, path| tx.insert_route(&system(), route(RouteOwner::Service(SHOP), path, &[]))).unwrap();
        if step == 2 {
            change!(store, |tx| tx.delete_hostname(&system(), GLOBEX_HOST, &RULES)).unwrap();
        }
        store.tick(NOW).await.unwrap();
        loop {
            let Delta::Changes { changes, complete, .. } = store.changes_after(at(revision), 3).await.unwrap() else {
                panic!("nothing was forgotten")
            };
            for change in changes {
                assert!(change.revision > revision);
                revision = change.revision;
                if change.entity.is_some() {
                    applied.insert(change.key.clone(), change);
                } else {
                    applied.remove(&change.key);
                }
            }
            if complete {
                break;
            }
        }
    }
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.version, at(revision));
    let text = |changes: Vec<Change>| {
        let mut lines: Vec<_> = changes.iter().map(|it| serde_json::to_string(it).unwrap()).collect();
        lines.sort();
        lines
    };
    assert_eq!(text(applied.into_values().collect()), text(snapshot.changes));
}

pub(crate) async fn what_narrows_raises_the_lowest_revision(db: Database) {
    let store = world(&db).await;
    let before = store.tick(NOW).await.unwrap();
    let (_, widens) = change!(store, |tx| tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initech"))).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, before.min_revision);
    let (_, narrows) = change!(store, |tx| tx.step_tenant(&system(), ACME, Suspend)).unwrap();
    let (_, after) = change!(store, |tx| tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode"))).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(Some(tick.min_revision), store.revision_of(narrows).await.unwrap());
    assert!(store.revision_of(after).await.unwrap() > Some(tick.min_revision));
    assert!(store.revision_of(widens).await.unwrap() < Some(tick.min_revision));
    assert_eq!(store.revisions().await.unwrap(), (tick.revision, tick.min_revision));
}

pub(crate) async fn a_foreign_position_is_not_known(db: Database) {
    let store = world(&db).await;
    refuse(&store, NOW + DAY).await;
    let head = store.tick(NOW).await.unwrap().head;
    let unread = Position { history: head.history, ..Position::default() };
    assert!(store.knows(head).await.unwrap());
    assert!(store.knows(unread).await.unwrap(), "nothing was forgotten yet");
    assert!(!store.knows(Position { tag: Tag(head.tag.0 ^ 1), ..head }).await.unwrap());
    assert!(!store.knows(Position { seq: head.seq.next(), ..head }).await.unwrap());
    let standing = async |at| store.standing(at).await.unwrap();
    assert_eq!(standing(Position { tag: Tag(head.tag.0 ^ 1), ..head }).await, Standing::Lost);
    assert_eq!(standing(Position { seq: head.seq.next(), ..head }).await, Standing::Lost);
    assert_eq!(standing(Position { history: History(head.history.0 ^ 1), ..head }).await, Standing::Foreign);
    refuse(&store, NOW + DAY).await;
    store.tick(NOW).await.unwrap();
    assert!(store.knows(head).await.unwrap());
    // Once what it would need is forgotten, it is behind for good.
    store.prune(NOW + DAY * 3).await.unwrap();
    assert_eq!(standing(head).await, Standing::Forgotten);
    assert!(!store.knows(unread).await.unwrap());
    assert!(store.knows(store.head().await.unwrap()).await.unwrap(), "the head itself is always known");
}

pub(crate) async fn a_full_resync_holds_what_still_restricts(db: Database) {
    let store = world(&db).await;
    refuse(&store, NOW + DAY / 2).await;
    refuse(&store, NOW + DAY * 2).await;
    change!(store, |tx| tx.revoke_tenant_tokens(&system(), GLOBEX)).unwrap();
    let head = store.tick(NOW).await.unwrap().head;
    let (position, facts) = store.live_facts(NOW).await.unwrap();
    assert_eq!((position, facts.len()), (head, 3));
    assert!(facts.contains(&Fact::TenantGeneration { tenant: GLOBEX, generation: 1, cutoff: Some(NOW) }));
    let later = NOW + DAY + DAY / 2;
    store.prune(later).await.unwrap();
    let (_, facts) = store.live_facts(later).await.unwrap();
    assert!(matches!(facts.as_slice(), [Fact::TokenRefused { exp, .. }] if *exp == NOW + DAY * 2), "{facts:?}");
}

pub(crate) async fn a_deleted_entity_is_forgotten_after_a_week_and_who_is_behind_resyncs(db: Database) {
    let store = world(&db).await;
    let history = store.head().await.unwrap().history;
    let at = |revision| SnapshotVersion { history, revision };
    let behind = at(store.tick(NOW).await.unwrap().revision);
    change!(store, |tx| tx.delete_hostname(&system(), ACME_HOST, &RULES)).unwrap();
    let gone = at(store.tick(NOW).await.unwrap().revision);
    change!(store, |tx| tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initech"))).unwrap();
    store.tick(NOW).await.unwrap();
    store.prune(NOW + DAY * 6).await.unwrap();
    assert!(matches!(store.changes_after(behind, 10).await.unwrap(),
        Delta::Changes { changes, .. } if changes.iter().any(|it| it.entity.is_none())));
    store.prune(NOW + DAY * 8).await.unwrap();
    assert!(matches!(store.changes_after(behind, 10).await.unwrap(), Delta::Resync));
    assert!(matches!(store.changes_after(gone, 10).await.unwrap(), Delta::Changes { complete: true, .. }));
    let ahead = at(store.revisions().await.unwrap().0 + 1);
    assert!(matches!(store.changes_after(ahead, 10).await.unwrap(), Delta::Resync), "a restored backup");
    let head = at(store.revisions().await.unwrap().0);
    assert!(matches!(store.changes_after(head, 10).await.unwrap(), Delta::Changes { .. }));
    let other = SnapshotVersion { history: History(history.0 ^ 1), ..head };
    assert!(matches!(store.changes_after(other, 10).await.unwrap(), Delta::Resync), "another history");
}

pub(crate) async fn a_foreign_refusal_becomes_one_fact_whoever_takes_it_over(db: Database) {
    const FLOOD: usize = 10_000;
    let store = world(&db).await;
    let before = store.tick(NOW).await.unwrap().head.seq;
    let refusals: Vec<(domain::TokenId, domain::Timestamp)> = (0..FLOOD).map(|_| (fresh(), NOW + DAY)).collect();
    let adopt = |refusals: Vec<(domain::TokenId, domain::Timestamp)>| {
        let store = store.clone();
        tokio::spawn(async move {
            let taken = store.write_session(Scope::Platform, NOW, |tx| {
                let refusals = refusals.clone();
                async move { tx.adopt(refusals).await }
            });
            taken.await.unwrap()
        })
    };
    let backwards: Vec<_> = refusals.iter().copied().rev().chain(refusals.first().copied()).collect();
    let (one, other) = tokio::join!(adopt(refusals.clone()), adopt(backwards));
    assert_eq!(one.unwrap() + other.unwrap(), FLOOD);
    let head = store.tick(NOW).await.unwrap().head.seq;
    assert_eq!(head.0 - before.0, FLOOD as u64);
    // Again: nothing new, unless it is refused for longer.
    let (jti, exp) = refusals[0];
    assert_eq!(adopt(vec![(jti, exp + Duration::from_secs(1))]).await.unwrap(), 0);
    assert_eq!(adopt(vec![(jti, exp + DAY)]).await.unwrap(), 1);
    store.prune(NOW + DAY + Duration::from_secs(3600)).await.unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM adopted_tokens").await, 1);
}

pub(crate) async fn a_cutoff_outlives_its_fact_and_names_the_foreign_subject_too(db: Database) {
    let store = world(&db).await;
    let subject = "7f000000-0000-4000-8000-000000000001";
    db.behind(&format!("UPDATE users SET external_id = '{subject}' WHERE id = '{ANN}'")).await;
    let raised = store.write_session(Scope::Platform, NOW, async |tx| tx.sign_out_everywhere(CLOUD, ACME, ANN).await);
    raised.await.unwrap();
    let cutoff = Some(NOW);
    let said = [
        Fact::UserGeneration { tenant: ACME, user: ANN, generation: 1, cutoff },
        Fact::UserGeneration { tenant: ACME, user: subject.parse().unwrap(), generation: 0, cutoff },
    ];
    let tick = store.tick(NOW).await.unwrap();
    assert!(said.iter().all(|fact| tick.facts.iter().any(|it| it.fact == *fact)), "{:?}", tick.facts);
    for (now, remembered) in [(NOW, true), (NOW + DAY * 6, true), (NOW + DAY * 8, false)] {
        store.prune(now).await.unwrap();
        let (_, facts) = store.live_facts(now).await.unwrap();
        for fact in &said {
            assert_eq!(facts.iter().filter(|it| *it == fact).count(), usize::from(remembered), "{fact:?} in {facts:?}");
        }
    }
}
