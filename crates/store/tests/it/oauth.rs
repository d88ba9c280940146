//! Identity providers, whom of ours they know, and sign-ins that are under way with them.

use std::time::Duration;

use authz::Scope;
use domain::{
    FederatedIdentityId, Id, IdentityProviderId, ProjectId, Secret, TenantId, UserId,
    model::{
        FederatedIdentity, IdentityProvider, NewIdentityProvider, OauthCode, OauthProofs, OauthPurpose, OauthState,
        ProviderKind, ProviderOptions, Version,
    },
};
use futures::future::join_all;
use store::{SessionTx, Store, StoreError, read::*};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW, sealer_of},
    isolation::scope_settings,
    world::*,
};

const SCOPE: Scope = Scope::Project(CLOUD);
const OF_ACME: IdentityProviderId = Id::new(Uuid::from_u128(0x71));
const OF_CLOUD: IdentityProviderId = Id::new(Uuid::from_u128(0x72));
const OF_ROOT: IdentityProviderId = Id::new(Uuid::from_u128(0x73));

/// How many try at once.
const MANY: usize = 50;

/// How many may wait in a project, where that does not matter.
const MOST: u32 = 1000;

async fn write<T, F: Future<Output = Result<T, StoreError>>>(store: &Store, change: impl Fn(SessionTx) -> F) -> T {
    store.write_session(SCOPE, NOW, change).await.unwrap()
}

fn provider(id: IdentityProviderId, tenant: Option<TenantId>, key: &str) -> NewIdentityProvider {
    NewIdentityProvider {
        id,
        project_id: CLOUD,
        tenant_id: tenant,
        key: key.parse().unwrap(),
        kind: ProviderKind::Oidc,
        name: "Corp".into(),
        display_order: 0,
        enabled: true,
        client_id: "us".into(),
        secret: Some(Secret::new("hunter2".into())),
        options: ProviderOptions { issuer: Some("https://id.example".into()), ..ProviderOptions::default() },
    }
}

/// One provider of ACME, and one of its project.
async fn providers(store: &Store) {
    for new in [provider(OF_ACME, Some(ACME), "corp"), provider(OF_CLOUD, None, "corp")] {
        change!(store, |tx, new| tx.insert_identity_provider(&system(), new.clone())).unwrap();
    }
}

fn identity(of: u128, provider: IdentityProviderId, tenant: Option<TenantId>, user: UserId) -> FederatedIdentity {
    FederatedIdentity {
        id: Id::new(Uuid::from_u128(0x80 + of)),
        project_id: CLOUD,
        tenant_id: tenant,
        provider_id: provider,
        subject: format!("subject-{of}"),
        user_id: user,
        email_at_link: None,
        linked_at: NOW,
        last_used_at: None,
    }
}

async fn linked(store: &Store, new: &FederatedIdentity) -> FederatedIdentityId {
    write(store, |tx| async move { tx.insert_federated_identity(new).await }).await;
    new.id
}

fn state(hash: u8, browser: u8) -> OauthState {
    OauthState {
        hash: [hash; 32],
        browser: [browser; 32],
        project_id: CLOUD,
        tenant_id: Some(ACME),
        provider_id: OF_ACME,
        purpose: OauthPurpose::Redirect,
        user_id: None,
        redirect_uri: "https://acme.example.com/oauth/callback/corp".into(),
        return_to: Some("https://app.acme.example.com/".into()),
        proofs: OauthProofs { verifier: Secret::new("verifier".into()), nonce: Secret::new("nonce".into()) },
        anew: false,
        begun_at: NOW,
        expires_at: NOW + Duration::from_secs(300),
    }
}

fn code(hash: u8, identity: &FederatedIdentity) -> OauthCode {
    OauthCode {
        hash: [hash; 32],
        browser: [1; 32],
        project_id: CLOUD,
        tenant_id: Some(ACME),
        identity_id: identity.id,
        user_id: identity.user_id,
        auth_time: NOW,
        begun_at: NOW,
        expires_at: NOW + Duration::from_secs(60),
    }
}

/// Of many that do this at once, how many it worked for.
async fn winners<F: Future<Output = bool> + Send + 'static>(attempt: impl Fn(usize) -> F) -> usize {
    let all = (0..MANY).map(|n| tokio::spawn(attempt(n)));
    join_all(all).await.into_iter().filter(|won| *won.as_ref().unwrap()).count()
}

pub(crate) async fn of_many_that_show_one_state_or_code_one_wins(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let (state, ann) = (&state(1, 1), &identity(1, OF_ACME, Some(ACME), ANN));
    write(&store, |tx| async move { tx.insert_oauth_state(state, MOST).await }).await;
    let won = winners(|_| {
        let store = store.clone();
        async move { write(&store, |tx| async move { tx.use_oauth_state([1; 32], &[[1; 32]]).await }).await.is_some() }
    });
    assert_eq!(won.await, 1);
    linked(&store, ann).await;
    let code = &code(2, ann);
    write(&store, |tx| async move { tx.insert_oauth_code(code).await }).await;
    assert_eq!(store.oauth_code([2; 32], NOW).await.unwrap().as_ref(), Some(code));
    let won = winners(|_| {
        let store = store.clone();
        async move { write(&store, |tx| async move { tx.use_oauth_code([2; 32]).await }).await }
    });
    assert_eq!(won.await, 1);
}

pub(crate) async fn a_state_is_its_browsers_alone_and_ends_with_its_time(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let use_it = async |store: &Store, hash: u8, browser: u8| {
        write(store, |tx| async move { tx.use_oauth_state([hash; 32], &[[9; 32], [browser; 32]]).await }).await
    };
    let (first, second) = (&state(1, 1), &state(2, 1));
    write(&store, |tx| async move { tx.insert_oauth_state(first, MOST).await }).await;
    write(&store, |tx| async move { tx.insert_oauth_state(second, MOST).await }).await;
    assert!(use_it(&store, 1, 2).await.is_none(), "another browser's");
    let sealed = db.reopened(sealer_of(9, &[]));
    let kept = sealed.write_session(SCOPE, NOW, |tx| async move { tx.use_oauth_state([1; 32], &[[1; 32]]).await });
    assert!(matches!(kept.await, Err(StoreError::Seal(_))), "under the master key");
    let used = use_it(&store, 2, 1).await.unwrap();
    assert_eq!((used.proofs.verifier.expose().as_str(), used.return_to), ("verifier", second.return_to.clone()));
    assert!(use_it(&store, 1, 1).await.is_some(), "one tab does not end another's");

    for hash in 0..25 {
        let mut one = state(100 + hash, 3);
        one.expires_at = NOW + Duration::from_secs(u64::from(hash));
        let one = &one;
        write(&store, |tx| async move { tx.insert_oauth_state(one, MOST).await }).await;
    }
    assert_eq!(db.number("SELECT COUNT(*) FROM oauth_states").await, 20, "of one browser");
    let later = NOW + Duration::from_secs(300);
    let late = store.write_session(SCOPE, later, |tx| async move { tx.use_oauth_state([124; 32], &[[3; 32]]).await });
    assert!(late.await.unwrap().is_none());
    assert_eq!(store.sweep_oauth(later, 7).await.unwrap(), 7);
    assert_eq!(store.sweep_oauth(later, 100).await.unwrap(), 13);
}

/// Whether one that is begun so many milliseconds from now is kept where `most` may wait.
async fn is_kept(
    store: &Store,
    (project, provider): (ProjectId, IdentityProviderId),
    (n, most): (u8, u32),
    ms: u64,
) -> bool {
    let at = NOW + Duration::from_millis(ms);
    let expires_at = at + Duration::from_secs(300);
    let new = OauthState { project_id: project, provider_id: provider, begun_at: at, expires_at, ..state(n, n) };
    let new = &OauthState { tenant_id: None, ..new };
    let kept =
        store.write_session(Scope::Project(project), at, |tx| async move { tx.insert_oauth_state(new, most).await });
    kept.await.unwrap()
}

pub(crate) async fn no_more_wait_in_a_project_than_may_and_whatever_ends_makes_room(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let waiting = async || db.number("SELECT COUNT(*) FROM oauth_states").await;
    let here = (CLOUD, OF_CLOUD);
    // Those that were begun by an earlier release are counted with them.
    for n in 200..203 {
        assert!(is_kept(&store, here, (n, MOST), 0).await);
    }
    db.behind("DELETE FROM oauth_waiting").await;
    let kept = winners(|n| {
        let store = store.clone();
        async move { is_kept(&store, here, (u8::try_from(n).unwrap(), 30), 0).await }
    });
    assert_eq!((kept.await, waiting().await), (27, 30));
    let other = NewIdentityProvider { project_id: ROOT, ..provider(OF_ROOT, None, "corp") };
    change!(store, |tx, other| tx.insert_identity_provider(&system(), other.clone())).unwrap();
    assert!(is_kept(&store, (ROOT, OF_ROOT), (100, 30), 0).await, "another project has room of its own");

    // What was used makes room, which is looked for once a second.
    let used = async |n: u8| write(&store, |tx| async move { tx.use_oauth_state([n; 32], &[[n; 32]]).await }).await;
    assert!(used(200).await.is_some() && used(201).await.is_some());
    assert!(!is_kept(&store, here, (100, 30), 999).await);
    assert!(is_kept(&store, here, (101, 30), 1000).await && is_kept(&store, here, (102, 30), 1000).await);
    assert!(!is_kept(&store, here, (103, 30), 1999).await && !is_kept(&store, here, (103, 30), 2000).await);
    assert_eq!(waiting().await, 31, "with the other project's");
    // And so does what is over, though nobody swept it; at the very moment, and not before.
    assert!(!is_kept(&store, here, (103, 30), 299_999).await);
    assert!(is_kept(&store, here, (103, 30), 301_000).await);
    assert_eq!(waiting().await, 2, "with the other project's");
    // A clock that went wrong holds nobody up, nor does a bound that was lowered let more in.
    db.behind(&format!("UPDATE oauth_waiting SET counted = 30, recounted_at = {}", i64::MAX)).await;
    assert!(is_kept(&store, here, (104, 30), 301_000).await);
    assert!(!is_kept(&store, here, (105, 2), 303_000).await);
}

pub(crate) async fn a_providers_secret_is_sealed_and_its_key_its_owners(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let of = async |tenant| {
        let key = "corp".parse().unwrap();
        store.identity_provider_by_key(CLOUD, tenant, &key).await.unwrap().map(|it| it.id)
    };
    assert_eq!((of(Some(ACME)).await, of(None).await, of(Some(GLOBEX)).await), (Some(OF_ACME), Some(OF_CLOUD), None));
    let secret = store.identity_provider_secret(OF_ACME).await.unwrap().unwrap();
    assert_eq!(secret.expose(), "hunter2");
    let elsewhere = db.reopened(sealer_of(9, &[])).identity_provider_secret(OF_ACME).await;
    assert!(matches!(elsewhere, Err(StoreError::Seal(_))), "{elsewhere:?}");
    for again in [provider(fresh(), Some(ACME), "corp"), provider(fresh(), None, "corp")] {
        let taken = change!(store, |tx, again| tx.insert_identity_provider(&system(), again.clone()));
        assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
    }
    let before = store.identity_provider(OF_ACME).await.unwrap().unwrap();
    let mut stale = before.clone();
    stale.version = Version(9);
    let stale = change!(store, |tx, stale| tx.update_identity_provider(&system(), stale.clone(), None));
    assert!(matches!(stale, Err(StoreError::VersionMismatch { .. })));
    let changed = change!(store, |tx, before| tx.update_identity_provider(&system(), before.clone(), None));
    let (changed, _) = changed.unwrap();
    assert_eq!(changed.version, Version(2));
    assert_eq!(store.identity_provider_secret(OF_ACME).await.unwrap().unwrap().expose(), "hunter2", "it stays");
}

pub(crate) async fn a_subject_is_one_user_and_the_last_way_in_is_not_taken_away(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let (first, second) = (identity(1, OF_ACME, Some(ACME), ANN), identity(2, OF_CLOUD, None, ANN));
    linked(&store, &first).await;
    linked(&store, &second).await;
    let mut again = identity(1, OF_ACME, Some(ACME), GUS);
    again.id = fresh();
    let again = &again;
    let taken = store.write_session(SCOPE, NOW, |tx| async move { tx.insert_federated_identity(again).await });
    assert!(taken.await.unwrap_err().is_conflict("federated_identities", "subject"));
    db.behind("UPDATE users SET password_hash = NULL").await;
    // Two at once: one keeps the way in.
    let user = store.user(ANN).await.unwrap().unwrap();
    let unlinked = [first.id, second.id].map(|id| {
        let (store, user) = (store.clone(), user.clone());
        tokio::spawn(async move {
            let user = &user;
            store.write_session(SCOPE, NOW, |tx| async move { tx.delete_federated_identity(user, id).await }).await
        })
    });
    let outcomes: Vec<_> = join_all(unlinked).await.into_iter().map(Result::unwrap).collect();
    let refused = outcomes.iter().filter(|it| matches!(it, Err(StoreError::Rule { code: "last_credential", .. })));
    assert_eq!(refused.count(), 1, "{outcomes:?}");
    assert_eq!(store.federated_identities(ANN).await.unwrap().len(), 1);
    let gus = &store.user(GUS).await.unwrap().unwrap();
    let left = store.federated_identities(ANN).await.unwrap()[0].id;
    let another = write(&store, |tx| async move { tx.delete_federated_identity(gus, left).await }).await;
    assert!(another.is_none(), "another's is not there");
}

pub(crate) async fn who_takes_somebodys_factors_away_takes_identities_too(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    linked(&store, &identity(1, OF_ACME, Some(ACME), ANN)).await;
    linked(&store, &identity(2, OF_CLOUD, None, ANN)).await;
    change!(store, |tx| tx.reset_factors(&system(), ANN)).unwrap();
    assert!(store.federated_identities(ANN).await.unwrap().is_empty());
}

pub(crate) async fn the_first_proof_of_an_address_voids_what_a_provider_knew(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let ann = identity(1, OF_ACME, Some(ACME), ANN);
    linked(&store, &ann).await;
    let code = &code(1, &ann);
    write(&store, |tx| async move { tx.insert_oauth_code(code).await }).await;
    let email = &store.user(ANN).await.unwrap().unwrap().email.unwrap();
    let proven = write(&store, |tx| async move { tx.prove_email(ANN, email, false).await }).await;
    assert!(proven.is_some());
    assert!(store.federated_identity(OF_ACME, "subject-1").await.unwrap().is_none());
    assert_eq!(db.number("SELECT COUNT(*) FROM oauth_codes").await, 0);
}

pub(crate) async fn a_provider_that_is_deleted_knows_nobody_at_once_and_is_emptied_by_and_by(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let (ann, gus) = (identity(1, OF_CLOUD, None, ANN), identity(2, OF_CLOUD, None, GUS));
    linked(&store, &ann).await;
    linked(&store, &gus).await;
    change!(store, |tx| tx.delete_identity_provider(&system(), (OF_CLOUD, None))).unwrap();
    assert!(store.federated_identity(OF_CLOUD, "subject-1").await.unwrap().is_none());
    assert!(store.federated_identities(GUS).await.unwrap().is_empty());
    let late = &identity(3, OF_CLOUD, None, ANN);
    let late = store.write_session(SCOPE, NOW, |tx| async move { tx.insert_federated_identity(late).await });
    assert!(matches!(late.await, Err(StoreError::NotFound { .. })));
    let used = write(&store, |tx| async move { tx.note_identity_used(ann.id, ANN, OF_CLOUD).await });
    assert!(!used.await);
    change!(store, |tx| tx.insert_identity_provider(&system(), provider(fresh(), None, "corp"))).unwrap();
    assert_eq!(store.sweep_deleted_providers(NOW, 1).await.unwrap(), 1);
    assert_eq!(store.sweep_deleted_providers(NOW, 1).await.unwrap(), 2, "the last identity, and then the provider");
    assert_eq!(store.sweep_deleted_providers(NOW, 1).await.unwrap(), 0);
}

pub(crate) async fn a_change_of_a_provider_ends_what_was_begun_before_it(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let later = |secs| NOW + Duration::from_secs(secs);
    let serves = async |tenant, since| {
        let serves =
            store.write_session(SCOPE, NOW, |tx| async move { tx.provider_serves(OF_ACME, tenant, since).await });
        serves.await.map_err(|error: StoreError| error).unwrap()
    };
    assert!(serves(ACME, NOW).await && !serves(GLOBEX, NOW).await);
    let ann = identity(1, OF_ACME, Some(ACME), ANN);
    linked(&store, &ann).await;
    let before = store.identity_provider(OF_ACME).await.unwrap().unwrap();
    let renamed = IdentityProvider { name: "Corporation".into(), ..before.clone() };
    change!(store, |tx, renamed| tx.update_identity_provider(&system(), renamed.clone(), None)).unwrap();
    assert!(serves(ACME, NOW).await, "another name is the same provider");

    let (state, code) = (&state(1, 1), &code(1, &ann));
    write(&store, |tx| async move { tx.insert_oauth_state(state, MOST).await }).await;
    write(&store, |tx| async move { tx.insert_oauth_code(code).await }).await;
    let changed = IdentityProvider { client_id: "others".into(), version: Version(2), ..before };
    change!(store, |tx, changed| tx.update_identity_provider(&system(), changed.clone(), None)).unwrap();
    assert!(
        !serves(ACME, later(5)).await && serves(ACME, later(6)).await,
        "by what was begun since, whoever's clock it was"
    );
    for table in ["oauth_states", "oauth_codes"] {
        assert_eq!(db.number(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    change!(store, |tx| tx.delete_identity_provider(&system(), (OF_ACME, None))).unwrap();
    assert!(!serves(ACME, later(60)).await);
}

pub(crate) async fn providers_and_identities_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    providers(&store).await;
    let (of_acme, of_cloud) = (identity(1, OF_ACME, Some(ACME), ANN), identity(2, OF_CLOUD, None, ANN));
    linked(&store, &of_acme).await;
    linked(&store, &of_cloud).await;
    let (state, code) = (&state(1, 1), &code(1, &of_acme));
    write(&store, |tx| async move { tx.insert_oauth_state(state, MOST).await }).await;
    write(&store, |tx| async move { tx.insert_oauth_code(code).await }).await;
    let Some(client) = db.postgres().await else { return };
    for (scope, seen, under_way) in [
        // A tenant sees what is its project's beside its own.
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 2, 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 1, 0),
        (scope_settings("project", Some(CLOUD), None), 2, 1),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0, 0),
        (scope_settings("platform", None, None), 2, 1),
        (String::new(), 0, 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for (table, expected) in [
            ("identity_providers", seen),
            ("federated_identities", seen),
            ("oauth_states", under_way),
            ("oauth_codes", under_way),
        ] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    let scope = scope_settings("tenant", Some(CLOUD), Some(ACME));
    client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
    let changed = client.execute("UPDATE identity_providers SET client_id = 'evil'", &[]).await.unwrap();
    assert_eq!(changed, 1, "the project's is not the tenant's to change");
    client.batch_execute("ROLLBACK").await.unwrap();
}
