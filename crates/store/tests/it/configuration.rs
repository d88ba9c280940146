//! What a configuration transaction promises.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use authz::{Caller, Context, PermissionSet, Scope, action::*};
use domain::{
    audit::{Actor, ActorKind, Origin},
    model::Version,
};
use store::{Audited, Claim, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn a_failed_write_leaves_nothing(db: Database) {
    let store = world(&db).await;
    let (events, pending) = (events(&db).await, pending(&db).await);
    let outcome = store
        .write(&system::<ManageTenants>(), NOW, |tx| async move {
            let made = tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode")).await?;
            tx.created(made).await?;
            let twice = tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "acme")).await?;
            tx.created(twice).await
        })
        .await;
    assert!(outcome.unwrap_err().is_conflict("tenants", "slug"));
    assert!(store.tenant_by_slug("initrode").await.unwrap().is_none());
    assert_eq!((self::events(&db).await, self::pending(&db).await), (events, pending));
}

/// What a server says whose disk is full (SQLSTATE 53100); of SQLite that is looked at where its errors are translated.
pub(crate) async fn a_database_without_room_says_so_and_goes_on_once_it_has_some(db: Database) {
    let store = world(&db).await;
    let Some(client) = db.postgres().await else { return };
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$;
                CREATE TRIGGER no_room BEFORE INSERT ON tenants FOR EACH ROW EXECUTE FUNCTION no_room()";
    client.batch_execute(full).await.unwrap();
    let make = async || change!(store, |tx| tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode")));
    let refused = make().await.unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    assert!(store.tenant(ACME).await.unwrap().is_some(), "it is read");
    client.batch_execute("DROP TRIGGER no_room ON tenants").await.unwrap();
    make().await.unwrap();
}

pub(crate) async fn a_stale_version_is_refused(db: Database) {
    let store = world(&db).await;
    let read = store.tenant(ACME).await.unwrap().unwrap();
    let mut first = read.clone();
    first.name = "Acme Inc".into();
    let (saved, _) = change!(store, |tx, first| tx.update_tenant(&system(), first.clone())).unwrap();
    assert_eq!(saved.version, Version(2));
    let stale = change!(store, |tx, read| tx.update_tenant(&system(), read.clone())).unwrap_err();
    assert!(matches!(stale, StoreError::VersionMismatch { what: "tenant", expected: Version(1), found: Version(2) }));
    assert_eq!(store.tenant(ACME).await.unwrap().unwrap(), saved);
}

pub(crate) async fn a_swallowed_error_is_not_committed(db: Database) {
    let store = world(&db).await;
    let by = system::<ManageTenants>();
    let outcome = store
        .write(&by, NOW, |tx| async move {
            let made = tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode")).await?;
            let made = tx.created(made).await?;
            let taken = tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "acme")).await;
            assert!(taken.unwrap_err().is_conflict("tenants", "slug"));
            assert!(matches!(tx.tenant(ACME).await, Err(StoreError::Failed)));
            Ok(made)
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::Failed)), "{outcome:?}");
    assert!(store.tenant_by_slug("initrode").await.unwrap().is_none());
}

pub(crate) async fn a_taken_name_is_a_conflict_that_names_the_column(db: Database) {
    let store = world(&db).await;
    let slug = change!(store, |tx| tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "acme"))).unwrap_err();
    assert!(slug.is_conflict("tenants", "slug"), "{slug:?}");
    let email = change!(store, |tx| async {
        let mut double = user(fresh(), "ann2");
        double.email = Some("ANN@example.com ".into());
        tx.insert_user(&system(), double).await
    })
    .unwrap_err();
    assert!(email.is_conflict("users", "email_fold") && email.is_conflict("users", "project_id"), "{email:?}");
    let customer = change!(store, |tx| async {
        let nobody = domain::model::NewTenant { customer_id: fresh(), ..tenant(fresh(), CLOUD, "initrode") };
        tx.insert_tenant(&system(), nobody).await
    });
    assert!(matches!(customer, Err(StoreError::Reference | StoreError::NotFound { .. })), "{customer:?}");
    let sign = change!(store, |tx| async {
        let mut odd = user(fresh(), "ann3");
        odd.username = Some("ann@example.com".into());
        tx.insert_user(&system(), odd).await
    });
    assert!(matches!(sign, Err(StoreError::Check { .. })), "{sign:?}");
}

pub(crate) async fn a_transaction_that_has_ended_answers_nothing(db: Database) {
    let store = world(&db).await;
    let kept = Arc::new(std::sync::Mutex::new(None));
    let shelf = Arc::clone(&kept);
    store
        .write(&system::<ManageTenants>(), NOW, |tx| {
            let shelf = Arc::clone(&shelf);
            async move {
                *shelf.lock().unwrap() = Some(tx);
                Ok::<_, StoreError>(Audited::unchanged(()))
            }
        })
        .await
        .unwrap();
    let tx = kept.lock().unwrap().take().unwrap();
    assert!(matches!(tx.tenant(ACME).await, Err(StoreError::Finished)));
}

pub(crate) async fn a_write_outside_its_scope_is_refused(db: Database) {
    let store = world(&db).await;
    let admin = Caller {
        actor: Actor { kind: ActorKind::User, id: None, name: "ann".into() },
        origin: Origin::default(),
        context: Context::Tenant(CLOUD, ACME),
        permissions: PermissionSet::default(),
        is_admin: true,
        is_super_admin: false,
    };
    let permission = "tenant:tenant:update".parse().unwrap();
    let by = admin.authorize::<ManageTenants>(&permission, Scope::Tenant(CLOUD, ACME)).unwrap();
    let before = store.tenant(GLOBEX).await.unwrap().unwrap();
    let foreign = &before;
    let outcome = store
        .write(&by, NOW, |tx| {
            let (by, changed) = (by.clone(), foreign.clone());
            async move { tx.updated(tx.update_tenant(&by, changed).await?).await }
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::OutOfScope | StoreError::NotFound { .. })), "{outcome:?}");
    assert_eq!(store.tenant(GLOBEX).await.unwrap().unwrap(), before);
}

pub(crate) async fn a_write_that_was_not_audited_is_not_saved(db: Database) {
    let store = world(&db).await;
    let outcome = store
        .write(&system::<ManageTenants>(), NOW, |tx| async move {
            let _thrown_away = tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode")).await?;
            Ok(Audited::unchanged(()))
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::Unaudited { writes: 1 })), "{outcome:?}");
    assert!(store.tenant_by_slug("initrode").await.unwrap().is_none());
}

/// Makes a tenant for a request with this key, and says whether it was made.
async fn made_once(store: &Store, claim: &Arc<Claim>, slug: &'static str) -> Result<(), StoreError> {
    let by = system::<ManageTenants>();
    let made = store.write(&by, NOW, |tx| async move {
        tx.created(tx.insert_tenant(&system(), tenant(fresh(), CLOUD, slug)).await?).await
    });
    claim.during(made).await.map(|_| ())
}

pub(crate) async fn of_many_changes_with_one_key_one_is_made(db: Database) {
    let store = world(&db).await;
    let claim = |hash: u8| Claim::new("ann", "/v1/tenants", "k1", [hash; 32]);
    let all = futures::future::join_all((0..20).map(|n| {
        let store = store.clone();
        let slug: &'static str = format!("initrode-{n}").leak();
        tokio::spawn(async move { made_once(&store, &Claim::new("ann", "/v1/tenants", "k1", [1; 32]), slug).await })
    }));
    let all: Vec<Result<(), StoreError>> = all.await.into_iter().map(|it| it.unwrap()).collect();
    assert_eq!(all.iter().filter(|it| it.is_ok()).count(), 1, "{all:?}");
    let alike = |it: &&Result<(), StoreError>| matches!(it, Err(StoreError::Claimed { alike: true }));
    assert_eq!(all.iter().filter(alike).count(), 19, "{all:?}");
    let made = store.tenants(store::Page::WIDEST).await.unwrap();
    assert_eq!(made.iter().filter(|it| it.slug.as_str().starts_with("initrode-")).count(), 1);

    // The answer comes later, and to nobody else.
    assert!(store.stored_response(&claim(1)).await.unwrap().is_none());
    store.keep_response(&claim(1), 201, &b"body".to_vec().into(), NOW).await.unwrap();
    let stored = store.stored_response(&claim(1)).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.body.expose().as_slice()), (201, &b"body"[..]));
    let other = made_once(&store, &claim(2), "initech").await;
    assert!(matches!(other, Err(StoreError::Claimed { alike: false })), "{other:?}");
    assert!(store.tenant_by_slug("initech").await.unwrap().is_none());
    let gus = Claim::new("gus", "/v1/tenants", "k1", [1; 32]);
    assert!(store.stored_response(&gus).await.unwrap().is_none());
    made_once(&store, &gus, "initech").await.unwrap();
}

pub(crate) async fn a_change_that_fails_claims_nothing(db: Database) {
    let store = world(&db).await;
    let claim = Claim::new("ann", "/v1/tenants", "k1", [1; 32]);
    let failed = made_once(&store, &claim, "acme").await;
    assert!(failed.unwrap_err().is_conflict("tenants", "slug"));
    assert!(!claim.is_taken());
    made_once(&store, &claim, "initech").await.unwrap();
    assert!(claim.is_taken());
    // What the same request changes after it has claimed the key is its own affair.
    made_once(&store, &claim, "initrode").await.unwrap();
    let again = Claim::new("ann", "/v1/tenants", "k1", [1; 32]);
    assert!(matches!(made_once(&store, &again, "umbrella").await, Err(StoreError::Claimed { alike: true })));
    // It failed in the end, and may be tried again.
    store.release_claim(&claim, NOW).await.unwrap();
    made_once(&store, &again, "umbrella").await.unwrap();
    // An answered one is not released.
    store.keep_response(&again, 201, &Vec::new().into(), NOW).await.unwrap();
    store.release_claim(&again, NOW).await.unwrap();
    assert!(store.stored_response(&again).await.unwrap().is_some());
}

pub(crate) async fn dropping_a_write_rolls_back(db: Database) {
    let store = world(&db).await;
    let (written, wait) = tokio::sync::oneshot::channel();
    let written = std::sync::Mutex::new(Some(written));
    let by = system::<ManageTenants>();
    let write = store.write(&by, NOW, |tx| {
        let written = written.lock().unwrap().take();
        async move {
            let made = tx.created(tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode")).await?).await?;
            written.unwrap().send(()).unwrap();
            std::future::pending::<()>().await;
            Ok::<_, StoreError>(made)
        }
    });
    tokio::select! {
        _ = write => unreachable!("it waits for ever"),
        arrived = wait => arrived.unwrap(),
    }
    // The next writer gets the lock, and finds nothing.
    change!(store, |tx| tx.insert_tenant(&system(), tenant(fresh(), CLOUD, "initrode"))).unwrap();
    assert_eq!(db.number("SELECT COUNT(*) FROM tenants WHERE slug = 'initrode'").await, 1);
}

pub(crate) async fn what_collides_is_tried_again(db: Database) {
    let store = world(&db).await;
    let tries = Arc::new(AtomicU32::new(0));
    let writers = (0..8).map(|_| {
        let (store, tries) = (store.clone(), Arc::clone(&tries));
        tokio::spawn(async move {
            let by = system::<ManageTenants>();
            store
                .write(&by, NOW, |tx| {
                    tries.fetch_add(1, Ordering::Relaxed);
                    async move {
                        let mut tenant = tx.tenant(ACME).await?.unwrap();
                        tenant.name.push('!');
                        tokio::task::yield_now().await;
                        tx.updated(tx.update_tenant(&system(), tenant).await?).await
                    }
                })
                .await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(store.tenant(ACME).await.unwrap().unwrap().name, "acme!!!!!!!!");
    assert!(tries.load(Ordering::Relaxed) >= 8);
}

async fn events(db: &Database) -> i64 {
    db.number("SELECT COUNT(*) FROM audit_events").await
}

async fn pending(db: &Database) -> i64 {
    db.number("SELECT COUNT(*) FROM pending_changes").await
}
