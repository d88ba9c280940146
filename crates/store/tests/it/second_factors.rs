//! Authenticators, recovery codes, and sign-ins that wait for them.

use std::time::Duration;

use authz::Scope;
use domain::{
    Amr, AmrSet, Secret, Timestamp, UserId,
    model::{AuthMethod, ChallengePurpose, LoginChallenge, NewBreakGlass},
};
use futures::future::join_all;
use store::{SessionTx, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW, sealer_of},
    isolation::scope_settings,
    world::*,
};

const SCOPE: Scope = Scope::Tenant(CLOUD, ACME);

/// How many try at once.
const MANY: usize = 50;

async fn write<T, F: Future<Output = Result<T, StoreError>>>(store: &Store, change: impl Fn(SessionTx) -> F) -> T {
    store.write_session(SCOPE, NOW, change).await.unwrap()
}

fn secret(byte: u8) -> Secret<Vec<u8>> {
    Secret::new(vec![byte; 20])
}

/// ANN's authenticator, confirmed with the code of step 100.
async fn enrolled(store: &Store) {
    let user = &store.user(ANN).await.unwrap().unwrap();
    assert!(write(store, |tx| async move { tx.begin_totp(user, &secret(1), &secret(2)).await }).await);
    assert!(write(store, |tx| async move { tx.confirm_totp(ANN, 100).await }).await);
    let codes = &[[1; 32], [2; 32], [3; 32]];
    write(store, |tx| async move { tx.replace_recovery_codes((ANN, CLOUD), codes).await }).await;
}

/// Of many that do this at once, how many it worked for.
async fn winners<F: Future<Output = bool> + Send + 'static>(attempt: impl Fn(usize) -> F) -> usize {
    let all = (0..MANY).map(|n| tokio::spawn(attempt(n)));
    join_all(all).await.into_iter().filter(|won| *won.as_ref().unwrap()).count()
}

pub(crate) async fn of_many_that_show_one_code_or_recovery_code_one_wins(db: Database) {
    let store = world(&db).await;
    enrolled(&store).await;
    let step = async |step: i64| write(&store, |tx| async move { tx.use_totp_step(ANN, step).await }).await;
    assert!(!step(100).await, "it confirmed the authenticator");
    let by_code = winners(|_| {
        let store = store.clone();
        async move { write(&store, |tx| async move { tx.use_totp_step(ANN, 101).await }).await }
    });
    assert_eq!(by_code.await, 1);
    assert!(!step(99).await && !step(101).await, "a code of an earlier step");
    assert!(step(102).await);
    let by_recovery = winners(|_| {
        let store = store.clone();
        async move { write(&store, |tx| async move { tx.use_recovery_code(ANN, [2; 32]).await }).await }
    });
    assert_eq!(by_recovery.await, 1);
    assert_eq!(store.recovery_codes_left(ANN).await.unwrap(), 2);
    assert!(!write(&store, |tx| async move { tx.use_recovery_code(ANN, [9; 32]).await }).await);
    assert!(!write(&store, |tx| async move { tx.use_recovery_code(GUS, [1; 32]).await }).await, "another's");
}

pub(crate) async fn an_authenticator_counts_once_it_is_confirmed_and_is_sealed(db: Database) {
    let store = world(&db).await;
    let user = &store.user(ANN).await.unwrap().unwrap();
    let begin =
        async |byte: u8| write(&store, |tx| async move { tx.begin_totp(user, &secret(byte), &secret(2)).await }).await;
    assert!(begin(1).await && begin(3).await, "one that was not confirmed is replaced");
    assert_eq!(store.totp_since(ANN).await.unwrap(), None);
    assert!(!write(&store, |tx| async move { tx.use_totp_step(ANN, 100).await }).await, "it does not count yet");
    assert_eq!(store.totp(ANN).await.unwrap().unwrap().secret, secret(3));
    assert!(write(&store, |tx| async move { tx.confirm_totp(ANN, 100).await }).await);
    assert!(!write(&store, |tx| async move { tx.confirm_totp(ANN, 101).await }).await);
    assert!(!begin(4).await, "one that counts stays");
    assert_eq!(store.totp_since(ANN).await.unwrap(), Some(NOW));
    let kept = db.reopened(sealer_of(9, &[])).totp(ANN).await;
    assert!(matches!(kept, Err(StoreError::Seal(_))), "{kept:?}");

    let break_glass = NewBreakGlass {
        customer_id: CUSTOMER,
        user_id: GUS,
        project_id: CLOUD,
        tenant_id: GLOBEX,
        password_hash: Secret::new("hash".into()),
        totp_secret: secret(5),
    };
    change!(store, |tx, break_glass| tx.set_up_break_glass(&system(), break_glass.clone())).unwrap();
    let gus = &store.user(GUS).await.unwrap().unwrap();
    let theirs = Scope::Tenant(CLOUD, GLOBEX);
    let refused =
        store.write_session(theirs, NOW, |tx| async move { tx.begin_totp(gus, &secret(1), &secret(2)).await });
    assert!(matches!(refused.await, Err(StoreError::Rule { code: "user_is_break_glass", .. })));

    let dropped = async || write(&store, |tx| async move { tx.drop_totp(ANN).await }).await;
    let codes = &[[1; 32]];
    write(&store, |tx| async move { tx.replace_recovery_codes((ANN, CLOUD), codes).await }).await;
    assert!(dropped().await && !dropped().await);
    assert!(store.totp(ANN).await.unwrap().is_none());
    assert_eq!(db.number("SELECT COUNT(*) FROM recovery_codes").await, 0);
}

fn challenge(hash: u8, user: UserId, at: Timestamp) -> LoginChallenge {
    LoginChallenge {
        hash: [hash; 32],
        project_id: CLOUD,
        tenant_id: ACME,
        user_id: user,
        system: false,
        method: AuthMethod::Password,
        approved_by: None,
        amr: AuthMethod::Password.amr(),
        provider_id: None,
        purpose: ChallengePurpose::Verify,
        user_generation: 0,
        tenant_generation: 0,
        attempts: 0,
        created_at: at,
        expires_at: at + Duration::from_secs(300),
    }
}

pub(crate) async fn of_many_that_use_a_waiting_sign_in_one_does(db: Database) {
    let store = world(&db).await;
    let new = &challenge(1, ANN, NOW);
    write(&store, |tx| async move { tx.insert_login_challenge(new).await }).await;
    assert_eq!(store.login_challenge([1; 32], NOW).await.unwrap().as_ref(), Some(new));
    assert_eq!(store.login_challenge([1; 32], NOW + Duration::from_secs(300)).await.unwrap(), None);
    let tried = winners(|_| {
        let store = store.clone();
        let attempt = async move |store: &Store| {
            write(store, |tx| async move { tx.attempt_login_challenge([1; 32], 5).await }).await.is_some()
        };
        async move { attempt(&store).await }
    });
    assert_eq!(tried.await, 5, "attempts are counted one by one");
    let used = winners(|_| {
        let store = store.clone();
        async move { write(&store, |tx| async move { tx.use_login_challenge([1; 32]).await }).await.is_some() }
    });
    assert_eq!(used.await, 1);
    assert_eq!(db.number("SELECT COUNT(*) FROM login_challenges").await, 0);
}

/// A sign-in that is under way is waited for by who confirms an authenticator, and one that comes later hears of it.
pub(crate) async fn no_sign_in_opens_beside_an_authenticator_that_is_confirmed(db: Database) {
    let store = world(&db).await;
    let user = &store.user(ANN).await.unwrap().unwrap();
    write(&store, |tx| async move { tx.begin_totp(user, &secret(1), &secret(2)).await }).await;
    let (begun, held) = (&tokio::sync::Notify::new(), &tokio::sync::Notify::new());
    let confirming = store.write_session(SCOPE, NOW, |tx| async move {
        tx.hold_sign_ins(ANN).await?;
        begun.notify_one();
        held.notified().await;
        tx.confirm_totp(ANN, 100).await
    });
    let signing_in = async {
        begun.notified().await;
        let other = store.clone();
        let sign_in = tokio::spawn(async move {
            write(&other, |tx| async move {
                tx.generations(CLOUD, ACME, ANN).await?;
                tx.totp_since(ANN).await
            })
            .await
        });
        // It waits for the other's lock; SQLite's one writer needs no proof.
        let waiting =
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while db.postgres().await.is_some() && db.number(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        held.notify_one();
        sign_in.await.unwrap()
    };
    let (confirmed, seen) = tokio::join!(confirming, signing_in);
    assert!(confirmed.unwrap());
    assert_eq!(seen, Some(NOW));
}

pub(crate) async fn waiting_sign_ins_are_few_and_are_swept(db: Database) {
    let store = world(&db).await;
    for n in 0..8 {
        let new = &challenge(n, ANN, NOW + Duration::from_secs(u64::from(n)));
        write(&store, |tx| async move { tx.insert_login_challenge(new).await }).await;
    }
    let others = &challenge(100, GUS, NOW);
    write(&store, |tx| async move { tx.insert_login_challenge(others).await }).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM login_challenges").await, 6);
    assert!(store.login_challenge([2; 32], NOW).await.unwrap().is_none(), "the oldest gave way");
    assert!(store.login_challenge([7; 32], NOW).await.unwrap().is_some());
    let later = NOW + Duration::from_secs(305);
    assert_eq!(store.sweep_login_challenges(later, 2).await.unwrap(), 2);
    assert_eq!(store.sweep_login_challenges(later, 100).await.unwrap(), 2);
    write(&store, |tx| async move { tx.drop_login_challenges(ANN).await }).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM login_challenges").await, 0);
}

pub(crate) async fn what_a_session_showed_is_kept_and_raised(db: Database) {
    let store = world(&db).await;
    let sid = crate::sessions::signed_in(&store).await;
    // A row of an older release.
    db.behind("UPDATE sessions SET amr = NULL").await;
    let before = store.session(sid).await.unwrap().unwrap();
    assert_eq!(before.amr, AmrSet::of(&[Amr::Pwd]));
    let second = AmrSet::of(&[Amr::Otp, Amr::Mfa]);
    let raise = async |amr, at| write(&store, |tx| async move { tx.raise_session(sid, amr, at).await }).await;
    let both = before.amr.and(second);
    let raised = raise(both, NOW).await;
    assert_eq!((raised.amr.to_string().as_str(), raised.auth_time), ("pwd otp mfa", NOW));
    let again = raise(AmrSet::of(&[Amr::Pwd]), NOW + Duration::from_secs(9)).await;
    assert_eq!((again.amr.to_string().as_str(), again.auth_time), ("pwd", NOW + Duration::from_secs(9)));
    assert_eq!(store.session(sid).await.unwrap().unwrap(), again);
    write(&store, |tx| async move { tx.end_session(sid, "test").await }).await;
    let ended = store.write_session(SCOPE, NOW, |tx| async move { tx.raise_session(sid, second, NOW).await });
    assert!(matches!(ended.await, Err(StoreError::NotFound { .. })));
}

pub(crate) async fn factors_are_invisible_to_other_tenants_and_projects(db: Database) {
    let store = world(&db).await;
    enrolled(&store).await;
    let new = &challenge(1, ANN, NOW);
    write(&store, |tx| async move { tx.insert_login_challenge(new).await }).await;
    let Some(client) = db.postgres().await else { return };
    for (scope, of_project, of_tenant) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1, 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 1, 0),
        (scope_settings("project", Some(CLOUD), None), 1, 1),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0, 0),
        (scope_settings("platform", None, None), 1, 1),
        (String::new(), 0, 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for (table, expected) in
            [("totp_secrets", of_project), ("recovery_codes", 3 * of_project), ("login_challenges", of_tenant)]
        {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
