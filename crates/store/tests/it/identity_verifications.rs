//! Verifications of people's identities.

use std::time::Duration;

use authz::Scope;
use domain::{
    Fact, IdentityVerificationId, Timestamp, UserId,
    model::{
        IdentityState, IdentityVerification, LoginPolicy, NewIdentityVerification, NextIdentityStep, PasswordPolicy,
        Version,
    },
};
use futures::future::join_all;
use store::{Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

fn new(user: UserId, ends_at: Timestamp) -> NewIdentityVerification {
    NewIdentityVerification { id: fresh(), project_id: CLOUD, tenant_id: ACME, user_id: user, ends_at }
}

async fn begin(store: &Store, user: UserId, now: Timestamp) -> Result<IdentityVerification, StoreError> {
    let new = new(user, now + HOUR);
    let by = &system();
    let begun = store.write(by, now, |tx| async move { tx.begin_identity_verification(by, new).await });
    begun.await.map(|(begun, _)| begun)
}

fn next(to: IdentityState, event: Option<&str>) -> NextIdentityStep {
    let ends_at = (to == IdentityState::Approved).then(|| NOW + DAY * 10);
    NextIdentityStep { to, reason: "as it is".into(), ends_at, event_id: event.map(str::to_owned) }
}

async fn step(
    store: &Store,
    id: IdentityVerificationId,
    seen: Option<Version>,
    next: &NextIdentityStep,
) -> Result<IdentityVerification, StoreError> {
    let by = &system();
    let stepped = store.write(by, NOW, |tx| async move { tx.step_identity_verification(by, (id, seen), next).await });
    stepped.await.map(|(stepped, _)| stepped)
}

pub(crate) async fn an_identity_goes_from_state_to_state_and_keeps_its_steps(db: Database) {
    let store = world(&db).await;
    let begun = begin(&store, ANN, NOW).await.unwrap();
    assert_eq!((begun.state, begun.version), (IdentityState::Pending, Version(1)));
    assert_eq!(begin(&store, ANN, NOW).await.unwrap().id, begun.id, "one is under way");
    let refused = begin(&store, fresh(), NOW).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "no member: {refused:?}");
    step(&store, begun.id, None, &next(IdentityState::InReview, Some("e1"))).await.unwrap();
    let refused = step(&store, begun.id, Some(Version(1)), &next(IdentityState::Approved, None)).await;
    assert!(matches!(refused, Err(StoreError::VersionMismatch { .. })), "{refused:?}");
    // The event that was taken changes nothing, whatever it says.
    let again = step(&store, begun.id, None, &next(IdentityState::Rejected, Some("e1"))).await.unwrap();
    assert_eq!((again.state, again.version), (IdentityState::InReview, Version(2)));
    let tries = (0..20).map(|n| {
        let store = store.clone();
        let to = if n % 2 == 0 { IdentityState::Approved } else { IdentityState::Expired };
        tokio::spawn(async move { step(&store, begun.id, Some(Version(2)), &next(to, None)).await })
    });
    let won: Vec<_> = join_all(tries).await.into_iter().filter_map(|it| it.unwrap().ok()).collect();
    assert_eq!(won.len(), 1, "{won:?}");
    let steps = store.identity_steps(begun.id).await.unwrap();
    let told: Vec<_> = steps.iter().map(|it| (it.from, it.to)).collect();
    let (pending, review) = (IdentityState::Pending, IdentityState::InReview);
    assert_eq!(told, [(None, pending), (Some(pending), review), (Some(review), won[0].state)]);
    let told = db.number("SELECT COUNT(*) FROM audit_events WHERE action LIKE 'identity-verification.%'").await;
    assert_eq!(told, 3);
    let refused = step(&store, begun.id, None, &next(IdentityState::InReview, None)).await;
    assert!(matches!(refused, Err(StoreError::Rule { code: "identity_state", .. })), "{refused:?}");
}

pub(crate) async fn an_approved_identity_counts_in_its_tenant_until_it_ends(db: Database) {
    let store = world(&db).await;
    let is = async |tenant, now| store.is_identity_approved(tenant, ANN, now).await.unwrap();
    let begun = begin(&store, ANN, NOW).await.unwrap();
    assert!(!is(ACME, NOW).await);
    step(&store, begun.id, None, &next(IdentityState::Approved, None)).await.unwrap();
    assert!(is(ACME, NOW).await && !is(GLOBEX, NOW).await);
    assert!(!is(ACME, NOW + DAY * 10).await);
    let ended =
        store.ended_identity_verifications(NOW + DAY * 10, IdentityVerificationId::new(uuid::Uuid::nil()), 5).await;
    assert_eq!(ended.unwrap(), [begun.id]);
    // Taken back, they are signed out where it is demanded, and only there.
    store.tick(NOW).await.unwrap();
    step(&store, begun.id, None, &next(IdentityState::Rejected, None)).await.unwrap();
    assert!(store.tick(NOW).await.unwrap().facts.is_empty(), "nothing is demanded");
    let said = LoginPolicy {
        require_verified_identity: true,
        ..LoginPolicy::unset(CLOUD, ACME, PasswordPolicy { min_length: 12, ..PasswordPolicy::default() })
    };
    change!(store, |tx, said| tx.put_login_policy(&system(), said.clone())).unwrap();
    assert!(store.login_policy(ACME).await.unwrap().unwrap().require_verified_identity);
    let second = begin(&store, ANN, NOW).await.unwrap();
    step(&store, second.id, None, &next(IdentityState::Approved, None)).await.unwrap();
    store.tick(NOW).await.unwrap();
    step(&store, second.id, None, &next(IdentityState::Rejected, None)).await.unwrap();
    assert!(!store.tick(NOW).await.unwrap().facts.is_empty(), "tokens of before are refused");
}

pub(crate) async fn whom_a_tenant_does_not_know_counts_for_nothing_at_the_edge(db: Database) {
    let store = world(&db).await;
    let counts = async |now| store.bindings_at_edge(ACME, ANN, now).await.unwrap().active;
    let told = async || {
        let facts = store.tick(NOW).await.unwrap().facts;
        facts.iter().any(|it| it.fact == Fact::BindingsChanged { tenant: ACME, user: ANN })
    };
    assert!(counts(NOW).await);
    told().await;
    let said = LoginPolicy {
        require_verified_identity: true,
        ..LoginPolicy::unset(CLOUD, ACME, PasswordPolicy { min_length: 12, ..PasswordPolicy::default() })
    };
    change!(store, |tx, said| tx.put_login_policy(&system(), said.clone())).unwrap();
    assert!(told().await && !counts(NOW).await, "it is demanded");
    assert!(store.bindings(ACME, ANN).await.unwrap().active, "they are a member as before");
    let begun = begin(&store, ANN, NOW).await.unwrap();
    assert!(!told().await, "nothing came of it yet");
    step(&store, begun.id, None, &next(IdentityState::Approved, None)).await.unwrap();
    assert!(told().await && counts(NOW).await && !counts(NOW + DAY * 10).await);
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    let steps = store.identity_steps(begun.id).await.unwrap();
    assert_eq!(steps.last().map(|it| it.to), Some(IdentityState::Rejected));
    assert!(!store.is_identity_approved(ACME, ANN, NOW).await.unwrap());
    assert!(told().await);
    change!(store, |tx| tx.delete_login_policy(&system(), ACME, None)).unwrap();
    assert!(store.is_known_enough(ACME, ANN, NOW).await.unwrap(), "nobody asks");
}

pub(crate) async fn verifications_of_a_member_are_few(db: Database) {
    let store = world(&db).await;
    let mut now = NOW;
    for day in 0_u32..9 {
        now = NOW + DAY * day;
        for _ in 0..3 {
            let begun = begin(&store, ANN, now).await.unwrap();
            let by = &system();
            let over = &next(IdentityState::Rejected, None);
            let id = begun.id;
            let ended =
                store.write(by, now, |tx| async move { tx.step_identity_verification(by, (id, None), over).await });
            ended.await.unwrap();
        }
        let refused = begin(&store, ANN, now).await;
        assert!(matches!(refused, Err(StoreError::Rule { code: "identity_verifications_full", .. })), "{refused:?}");
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM identity_verifications").await, 20);
    assert_eq!(db.number("SELECT COUNT(*) FROM identity_steps").await, 40, "steps go with what they are of");
    assert!(begin(&store, ANN, now + DAY + HOUR).await.is_ok());
}

pub(crate) async fn verifications_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    begin(&store, ANN, NOW).await.unwrap();
    let elsewhere = store.within(Scope::Tenant(CLOUD, GLOBEX));
    assert!(
        elsewhere
            .ended_identity_verifications(NOW + DAY, IdentityVerificationId::new(uuid::Uuid::nil()), 5)
            .await
            .is_ok()
    );
    let Some(client) = db.postgres().await else { return };
    for (scope, expected) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 0),
        (scope_settings("project", Some(ROOT), None), 0),
        (scope_settings("tenant", Some(ROOT), Some(STAFF)), 0),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for table in ["identity_verifications", "identity_steps"] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
