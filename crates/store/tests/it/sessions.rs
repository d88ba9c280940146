//! Sessions, refresh tokens and failed sign-ins.

use std::time::Duration;

use authz::Scope;
use domain::{
    Fact, SessionId, Timestamp,
    model::{AuthMethod, NewRefreshToken, NewSession},
};
use store::{Consumed, LockPolicy, LoginSubject, Page, SessionTx, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

const SCOPE: Scope = Scope::Tenant(CLOUD, ACME);
const HOUR: Duration = Duration::from_secs(3600);

fn refresh(hash: u8, sid: SessionId) -> NewRefreshToken {
    NewRefreshToken { hash: [hash; 32], sid, expires_at: NOW + HOUR, jti: fresh(), jti_exp: NOW + HOUR }
}

async fn sign_in(tx: &SessionTx, sid: SessionId) -> Result<(), StoreError> {
    let (user_generation, tenant_generation) = tx.generations(CLOUD, ACME, ANN).await?;
    tx.open_session(NewSession {
        sid,
        project_id: CLOUD,
        tenant_id: ACME,
        user_id: ANN,
        system: false,
        method: AuthMethod::Password,
        approved_by: None,
        provider_id: None,
        lent: false,
        amr: AuthMethod::Password.amr(),
        auth_time: NOW,
        ip: Some("::1".parse().unwrap()),
        user_agent: None,
        user_generation,
        tenant_generation,
        created_at: NOW,
        expires_at: NOW + HOUR,
        token_exp: NOW + HOUR,
    })
    .await?;
    tx.insert_refresh(&refresh(1, sid)).await
}

pub(crate) async fn signed_in(store: &Store) -> SessionId {
    let sid = fresh();
    store.write_session(SCOPE, NOW, async |tx| sign_in(&tx, sid).await).await.unwrap();
    sid
}

async fn consume(store: &Store, now: Timestamp, grace: Duration) -> Consumed {
    store.write_session(SCOPE, now, async |tx| tx.consume_refresh([1; 32], grace).await).await.unwrap()
}

pub(crate) async fn of_many_refreshes_at_once_one_wins(db: Database) {
    let store = world(&db).await;
    let sid = signed_in(&store).await;
    let tries: Vec<_> = (0..16_u8)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let used: Result<Consumed, StoreError> = store
                    .write_session(SCOPE, NOW, |tx| async move {
                        let used = tx.consume_refresh([1; 32], Duration::ZERO).await?;
                        if let Consumed::Fresh(token, _) = &used {
                            tx.replace_refresh(token.hash, &refresh(n + 2, sid)).await?;
                        }
                        Ok(used)
                    })
                    .await;
                used.unwrap()
            })
        })
        .collect();
    let mut winners = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Consumed::Fresh(..) => winners += 1,
            Consumed::Replayed(session) => assert_eq!(session.sid, sid),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM refresh_tokens").await, 2);
}

pub(crate) async fn a_replayed_refresh_token_is_noticed(db: Database) {
    let store = world(&db).await;
    let sid = signed_in(&store).await;
    let grace = Duration::from_secs(5);
    assert!(matches!(consume(&store, NOW, grace).await, Consumed::Fresh(_, session) if session.is_open(NOW)));
    let soon = NOW + Duration::from_secs(1);
    assert!(matches!(consume(&store, soon, grace).await, Consumed::Superseded(session) if session.sid == sid));
    let later = NOW + Duration::from_secs(10);
    assert!(matches!(consume(&store, later, grace).await, Consumed::Replayed(session) if session.sid == sid));
    store.write_session(SCOPE, later, async |tx| tx.revoke_all_sessions(ANN).await).await.unwrap();
    assert!(store.open_sessions(ACME, ANN, later, Page::FIRST).await.unwrap().is_empty());
    let unknown = store.write_session(SCOPE, NOW, async |tx| tx.consume_refresh([9; 32], grace).await);
    assert_eq!(unknown.await.unwrap(), Consumed::Unknown);
    store.write_session(SCOPE, NOW, async |tx| tx.insert_refresh(&refresh(3, sid)).await).await.unwrap();
    let expired = store.write_session(SCOPE, NOW + HOUR, async |tx| tx.consume_refresh([3; 32], grace).await);
    assert_eq!(expired.await.unwrap(), Consumed::Expired);
}

pub(crate) async fn signing_out_refuses_the_token_and_ends_the_session(db: Database) {
    let store = world(&db).await;
    let (sid, jti) = (signed_in(&store).await, fresh());
    store.tick(NOW).await.unwrap();
    assert!(!store.is_token_refused(jti, NOW).await.unwrap());
    for _ in 0..2 {
        let out = store.write_session(SCOPE, NOW, |tx| async move {
            tx.refuse_token(jti, NOW + HOUR).await?;
            tx.end_session(sid, "logout").await
        });
        out.await.unwrap();
    }
    assert!(store.is_token_refused(jti, NOW).await.unwrap(), "before it is numbered, too");
    assert!(!store.is_token_refused(fresh(), NOW).await.unwrap());
    assert!(!store.is_token_refused(jti, NOW + HOUR + HOUR).await.unwrap());
    let facts: Vec<_> = store.tick(NOW).await.unwrap().facts.into_iter().map(|it| it.fact).collect();
    let refused = Fact::TokenRefused { jti, exp: NOW + HOUR };
    assert_eq!(facts, [refused.clone(), Fact::SessionEnded { sid, exp: NOW + HOUR }, refused]);
    assert_eq!(store.session(sid).await.unwrap().unwrap().end_reason.as_deref(), Some("logout"));
}

pub(crate) async fn signing_out_everywhere_refuses_what_was_issued_before(db: Database) {
    let store = world(&db).await;
    signed_in(&store).await;
    let raised = store.write_session(SCOPE, NOW, async |tx| tx.sign_out_everywhere(CLOUD, ACME, ANN).await);
    assert_eq!(raised.await.unwrap(), 1);
    assert!(store.open_sessions(ACME, ANN, NOW, Page::FIRST).await.unwrap().is_empty());
    let sid = signed_in_again(&store).await;
    assert_eq!(store.session(sid).await.unwrap().unwrap().user_generation, 1);
}

async fn signed_in_again(store: &Store) -> SessionId {
    let sid = fresh();
    store
        .write_session(SCOPE, NOW, |tx| async move {
            let (user_generation, tenant_generation) = tx.generations(CLOUD, ACME, ANN).await?;
            tx.open_session(NewSession {
                sid,
                project_id: CLOUD,
                tenant_id: ACME,
                user_id: ANN,
                system: false,
                method: AuthMethod::Password,
                approved_by: None,
                provider_id: None,
                lent: false,
                amr: AuthMethod::Password.amr(),
                auth_time: NOW,
                ip: None,
                user_agent: Some("test".into()),
                user_generation,
                tenant_generation,
                created_at: NOW,
                expires_at: NOW + HOUR,
                token_exp: NOW + HOUR,
            })
            .await
        })
        .await
        .unwrap();
    sid
}

pub(crate) async fn failures_lock_a_name_whether_or_not_somebody_has_it(db: Database) {
    let store = world(&db).await;
    let policy = LockPolicy::default();
    for subject in [LoginSubject::User(ANN), LoginSubject::Name("Nobody".into())] {
        let fail = |now| {
            let (store, subject) = (store.clone(), subject.clone());
            async move {
                let counted = store.write_session(SCOPE, now, |tx| {
                    let subject = subject.clone();
                    async move { tx.count_login_failure(CLOUD, &subject, policy).await }
                });
                counted.await.unwrap()
            }
        };
        for n in 1..=4 {
            let counted = fail(NOW).await;
            assert_eq!((counted.failures, counted.locked(NOW)), (n, None));
        }
        assert_eq!(fail(NOW).await.locked(NOW), Some(policy.lock_for));
        let later = NOW + policy.lock_for;
        assert_eq!(store.login_failures(CLOUD, &subject).await.unwrap().locked(later), None);
        assert_eq!(fail(later).await.failures, 1, "the first again");
        let cleared = store.write_session(SCOPE, later, |tx| {
            let subject = subject.clone();
            async move { tx.clear_login_failures(CLOUD, &subject).await }
        });
        cleared.await.unwrap();
        assert_eq!(store.login_failures(CLOUD, &subject).await.unwrap().failures, 0);
    }
    let folded = store.login_failures(CLOUD, &LoginSubject::Name(" nobody".into())).await.unwrap();
    assert_eq!(folded.failures, 0);
}

pub(crate) async fn ending_all_other_sessions_leaves_one_and_a_fact_each(db: Database) {
    let store = world(&db).await;
    let (first, kept, third) = (signed_in(&store).await, signed_in_again(&store).await, signed_in_again(&store).await);
    store.tick(NOW).await.unwrap();
    let scope = Scope::Project(CLOUD);
    let ended = store.write_session(scope, NOW, async |tx| tx.end_other_sessions(ANN, kept, "others").await);
    assert_eq!(ended.await.unwrap().len(), 2);
    let open = store.open_sessions(ACME, ANN, NOW, Page::FIRST).await.unwrap();
    assert_eq!(open.iter().map(|session| session.sid).collect::<Vec<_>>(), [kept]);
    let mut facts: Vec<_> = store.tick(NOW).await.unwrap().facts.into_iter().map(|it| it.fact).collect();
    let mut expected = [first, third].map(|sid| Fact::SessionEnded { sid, exp: NOW + HOUR }).to_vec();
    for list in [&mut facts, &mut expected] {
        list.sort_by_key(|fact| format!("{fact:?}"));
    }
    assert_eq!(facts, expected);
    let gone = store.write_session(scope, NOW, async |tx| tx.end_other_sessions(ANN, first, "others").await).await;
    assert!(matches!(gone, Err(StoreError::NotFound { what: "session" })), "{gone:?}");
    assert!(store.session(kept).await.unwrap().unwrap().is_open(NOW));
    let foreign = store.write_session(scope, NOW, async |tx| tx.end_other_sessions(GUS, kept, "others").await).await;
    assert!(matches!(foreign, Err(StoreError::NotFound { .. })), "{foreign:?}");
}

pub(crate) async fn of_sessions_that_end_each_other_at_once_one_stays(db: Database) {
    let store = world(&db).await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(signed_in_again(&store).await);
    }
    let end = |kept| {
        let store = store.clone();
        tokio::spawn(async move {
            let scope = Scope::Project(CLOUD);
            store.write_session(scope, NOW, async |tx| tx.end_other_sessions(ANN, kept, "others").await).await
        })
    };
    let tries: Vec<_> = sessions.into_iter().map(end).collect();
    let mut winners = 0;
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(ended) => winners += usize::from(ended.len() == 7),
            Err(error) => assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}"),
        }
    }
    assert_eq!(winners, 1);
    assert_eq!(store.open_sessions(ACME, ANN, NOW, Page::FIRST).await.unwrap().len(), 1);
}
