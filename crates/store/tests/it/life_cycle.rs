//! What becomes of tenants by themselves: trials that end, tenants that are purged, steps that are taken elsewhere.

use std::time::Duration;

use authz::{Scope, action::*};
use domain::{
    TenantId, Timestamp, UserId,
    model::{Branding, Membership, NewHostname, Provisioning, ProvisioningStep, TenantTransition},
    snapshot::{Entity, EntityKind, RoleScope, TenantStatus},
};
use futures::future::join_all;
use store::{Audited, Page, PurgeDue, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    isolation::scope_settings,
    world::*,
};

const HOUR: Duration = Duration::from_secs(3600);

async fn on_trial(store: &Store) -> TenantId {
    let mut new = tenant(fresh(), CLOUD, "trial");
    (new.status, new.trial_ends_at) = (TenantStatus::Trial, Some(NOW));
    new.branding = serde_json::from_str::<Branding>(r##"{"name":"Trial Inc","primary":"#0a0bff"}"##).unwrap();
    let (made, _) = change!(store, |tx, new| tx.insert_tenant(&system(), new.clone())).unwrap();
    assert_eq!(store.tenant(made.id).await.unwrap().unwrap().branding, new.branding);
    store.tick(NOW).await.unwrap();
    made.id
}

async fn expire(store: &Store, id: TenantId) -> bool {
    let by = &system::<ManageTenants>();
    let expired = store.write(by, NOW, |tx| async move {
        match tx.expire_trial(by, id).await? {
            Some(change) => Ok::<_, StoreError>(tx.done("trial_expired", change).await?.map(|_| true)),
            None => Ok(Audited::unchanged(false)),
        }
    });
    expired.await.unwrap().0
}

pub(crate) async fn of_many_that_freeze_an_ended_trial_one_does(db: Database) {
    let store = world(&db).await;
    let id = on_trial(&store).await;
    assert!(store.expired_trials(NOW - HOUR, 10).await.unwrap().is_empty());
    assert_eq!(store.expired_trials(NOW, 10).await.unwrap(), [id]);
    let all = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { expire(&store, id).await })
    });
    let froze = join_all(all).await.into_iter().filter(|froze| *froze.as_ref().unwrap()).count();
    assert_eq!(froze, 1);
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "a frozen tenant is frozen everywhere");
    assert!(tick.changes.iter().any(|change| matches!(&change.entity,
        Some(Entity::Tenant(it)) if it.id == id && it.status == TenantStatus::Frozen)));
    let rows = db.number("SELECT COUNT(*) FROM audit_events WHERE action = 'tenant.trial_expired'").await;
    assert_eq!((rows, store.expired_trials(NOW, 10).await.unwrap()), (1, vec![]));
}

pub(crate) async fn what_was_over_before_anybody_looked_is_left_alone(db: Database) {
    let store = world(&db).await;
    let id = on_trial(&store).await;
    change!(store, |tx| tx.delete_tenant(&system(), GLOBEX)).unwrap();
    let later = NOW + HOUR;
    db.behind(&format!("UPDATE tenants SET left_alone_until = {}", later.millis())).await;
    assert!(store.expired_trials(NOW, 10).await.unwrap().is_empty());
    assert!(store.unannounced_purges((NOW, NOW), 10).await.unwrap().is_empty());
    assert_eq!(store.expired_trials(later, 10).await.unwrap(), [id]);
    assert_eq!(store.unannounced_purges((NOW, later), 10).await.unwrap(), [GLOBEX]);
}

pub(crate) async fn a_trial_that_was_prolonged_meanwhile_goes_on(db: Database) {
    let store = world(&db).await;
    let id = on_trial(&store).await;
    let mut prolonged = store.tenant(id).await.unwrap().unwrap();
    prolonged.trial_ends_at = Some(NOW + HOUR);
    change!(store, |tx, prolonged| tx.update_tenant(&system(), prolonged.clone())).unwrap();
    assert!(!expire(&store, id).await);
    assert_eq!(store.tenant(id).await.unwrap().unwrap().status, TenantStatus::Trial);
}

async fn purge(store: &Store, id: TenantId) -> bool {
    let (by, hostnames_by) = (&system::<ManageTenants>(), &system::<ManageHostnames>());
    let purged = store.write(by, NOW + HOUR, |tx| async move {
        for hostname in tx.hostnames_of_tenant(id, Page::WIDEST).await? {
            tx.deleted(tx.delete_hostname(hostnames_by, hostname.id, &RULES).await?).await?;
        }
        match tx.purge_tenant(by, id, NOW, &RULES).await? {
            Some(purged) => Ok::<_, StoreError>(purged.map(|_| true)),
            None => Ok(Audited::unchanged(false)),
        }
    });
    purged.await.unwrap().0
}

/// A user of the shared project who is a member of this tenant.
async fn member_of(store: &Store, tenant: TenantId, name: &str) -> UserId {
    let (new, member) = (user(fresh(), name), fresh());
    change!(store, |tx, new| tx.insert_user(&system(), new.clone())).unwrap();
    let member = Membership { id: member, ..membership(tenant, new.id) };
    change!(store, |tx, member| tx.insert_membership(&system(), member.clone())).unwrap();
    new.id
}

async fn announce(store: &Store, id: TenantId) -> bool {
    let by = &system::<ManageTenants>();
    let announced = store.write(by, NOW, |tx| async move {
        match tx.announce_purge(by, id, NOW).await? {
            Some(change) => Ok::<_, StoreError>(tx.done("purge_announced", change).await?.map(|_| true)),
            None => Ok(Audited::unchanged(false)),
        }
    });
    announced.await.unwrap().0
}

async fn claim_purge(store: &Store, id: TenantId, at: Timestamp, most: u64) -> bool {
    let due = PurgeDue { deleted: NOW, announced: NOW, now: at };
    let claimed = store.write_session(Scope::Platform, at, |tx| async move {
        tx.claim_purge(id, due, at + HOUR, (at - HOUR, most)).await
    });
    claimed.await.map_err(|error: StoreError| error).unwrap()
}

pub(crate) async fn a_purge_is_announced_once_claimed_by_one_and_put_off_when_it_fails(db: Database) {
    let store = world(&db).await;
    for id in [ACME, GLOBEX] {
        change!(store, |tx| tx.delete_tenant(&system(), id)).unwrap();
    }
    assert!(store.unannounced_purges((NOW - HOUR, NOW), 10).await.unwrap().is_empty(), "not on hold for so long");
    let announced = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { announce(&store, GLOBEX).await })
    });
    let announced = join_all(announced).await.into_iter().filter(|done| *done.as_ref().unwrap()).count();
    assert_eq!(announced, 1);
    let rows = db.number("SELECT COUNT(*) FROM audit_events WHERE action = 'tenant.purge_announced'").await;
    assert_eq!(rows, 1);
    assert_eq!(store.unannounced_purges((NOW, NOW), 10).await.unwrap(), [ACME]);
    let due = |announced, now| PurgeDue { deleted: NOW, announced, now };
    assert!(store.due_purges(due(NOW - HOUR, NOW), 10).await.unwrap().is_empty(), "announced a moment ago");
    assert_eq!(store.due_purges(due(NOW, NOW), 10).await.unwrap(), [(GLOBEX, 0)]);

    assert!(!claim_purge(&store, ACME, NOW, 2).await, "nobody was told of it");
    assert!(!claim_purge(&store, GLOBEX, NOW, 0).await, "there is no room");
    let claims = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim_purge(&store, GLOBEX, NOW, 1).await })
    });
    let won = join_all(claims).await.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
    assert!(store.due_purges(due(NOW, NOW), 10).await.unwrap().is_empty(), "somebody has taken it on");
    assert_eq!(store.due_purges(due(NOW, NOW + HOUR), 10).await.unwrap(), [(GLOBEX, 0)], "and was not heard of again");

    announce(&store, ACME).await;
    assert!(!claim_purge(&store, ACME, NOW, 1).await, "one was begun within the hour");
    assert!(claim_purge(&store, GLOBEX, NOW + HOUR, 1).await, "which goes on all the same");
    let put_off = store
        .write_session(Scope::Platform, NOW, |tx| async move { tx.put_off_purge(GLOBEX, NOW + HOUR * 2, 3).await });
    put_off.await.map_err(|error: StoreError| error).unwrap();
    assert_eq!(store.due_purges(due(NOW, NOW + HOUR), 10).await.unwrap(), [(ACME, 0)], "it holds nobody up");
    let later = store.due_purges(due(NOW, NOW + HOUR * 3), 10).await.unwrap();
    assert_eq!(later, [(ACME, 0), (GLOBEX, 3)]);
    assert!(!claim_purge(&store, STAFF, NOW, 9).await, "who was not deleted is not purged");
}

pub(crate) async fn what_is_many_goes_some_at_a_time_and_goes_on_where_it_was_cut_off(db: Database) {
    let store = world(&db).await;
    let (bob, shared) = (member_of(&store, GLOBEX, "bob").await, member_of(&store, GLOBEX, "both").await);
    let member = membership(ACME, shared);
    change!(store, |tx, member| tx.insert_membership(&system(), member.clone())).unwrap();
    assert!(!store.empty_tenant(GLOBEX, NOW, 100).await.unwrap(), "in service");
    assert!(store.user(bob).await.unwrap().is_some());
    change!(store, |tx| tx.delete_tenant(&system(), GLOBEX)).unwrap();
    for n in 0..3 {
        let asked = uuid::Uuid::from_u128(900 + n);
        let owner = if n < 2 { GLOBEX } else { ACME };
        db.behind(&format!(
            "INSERT INTO outbox_events (id, kind, project_id, tenant_id, owner, payload_enc, attempts, epoch, next_at,
                 created_at)
             VALUES ('{asked}', 'mail', '{CLOUD}', '{owner}', '{owner}', {}, 0, 0, 0, 0)",
            if db.postgres().await.is_some() { "'x'::bytea" } else { "x'00'" },
        ))
        .await;
    }
    let of = async |tenant: TenantId| {
        db.number(&format!("SELECT COUNT(*) FROM outbox_events WHERE tenant_id = '{tenant}'")).await
    };
    assert!(!store.empty_tenant(GLOBEX, NOW, 2).await.unwrap(), "not all of it in two transactions");
    assert_eq!(of(GLOBEX).await, 0, "but what came first");
    assert!(store.user(bob).await.unwrap().is_some());
    assert!(store.empty_tenant(GLOBEX, NOW, 100).await.unwrap());
    assert!(store.user(bob).await.unwrap().is_none() && store.user(GUS).await.unwrap().is_none());
    assert!(store.user(shared).await.unwrap().is_some(), "who is a member elsewhere stays");
    assert_eq!(of(ACME).await, 1, "and what is another's");
    assert!(store.tenant(GLOBEX).await.unwrap().is_some(), "the tenant itself is still there");
    assert!(purge(&store, GLOBEX).await);
    assert_eq!(store.purged_since(NOW).await.unwrap(), 1);
    assert_eq!(store.purged_since(NOW + HOUR).await.unwrap(), 0);
}

pub(crate) async fn of_many_that_purge_a_tenant_one_does_and_its_chain_is_left(db: Database) {
    let store = world(&db).await;
    let clerk = role(GLOBEX, RoleScope::Tenant, "clerk", &["shop:order:list"]);
    change!(store, |tx, clerk| tx.insert_role(&system(), clerk.clone())).unwrap();
    change!(store, |tx| tx.insert_role_binding(&system(), binding(clerk.id, GLOBEX, GUS))).unwrap();
    let begun = Provisioning::begun(CLOUD, GLOBEX, NOW);
    change!(store, |tx, begun| tx.begin_provisioning(&system(), begun.clone())).unwrap();
    change!(store, |tx| tx.delete_tenant(&system(), GLOBEX)).unwrap();
    store.tick(NOW).await.unwrap();
    let all = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { purge(&store, GLOBEX).await })
    });
    let purged = join_all(all).await.into_iter().filter(|purged| *purged.as_ref().unwrap()).count();
    assert_eq!(purged, 1);

    assert!(store.tenant(GLOBEX).await.unwrap().is_none());
    assert!(store.user(GUS).await.unwrap().is_none(), "who belonged to no other tenant");
    assert!(store.user(ANN).await.unwrap().is_some());
    assert!(store.project(CLOUD).await.unwrap().is_some(), "others live there");
    for table in store::tenant_tables().chain(["hostnames"]) {
        let left = db.number(&format!("SELECT COUNT(*) FROM {table} WHERE tenant_id = '{GLOBEX}'")).await;
        assert_eq!(left, 0, "{table}");
    }
    let tick = store.tick(NOW).await.unwrap();
    let gone: Vec<_> =
        tick.changes.iter().filter(|it| it.entity.is_none()).map(|it| (it.key.kind, it.key.id)).collect();
    for key in [
        (EntityKind::Tenant, GLOBEX.uuid()),
        (EntityKind::Hostname, GLOBEX_HOST.uuid()),
        (EntityKind::Role, clerk.id.uuid()),
    ] {
        assert!(gone.contains(&key), "{key:?} of {gone:?}");
    }
    let other = fresh();
    assert!(store.was_anothers("globex", None, other).await.unwrap(), "the slug is not for another customer's");
    assert!(!store.was_anothers("globex", None, CUSTOMER).await.unwrap());
    assert!(!store.was_anothers("acme", None, other).await.unwrap());
    crate::audit::chain_all(&store).await;
    let left = store.verify_audit(Some(GLOBEX)).await.unwrap();
    assert!(left.broken.is_none() && left.rows > 0, "the chain still holds: {left:?}");
    let last = format!(
        "SELECT COUNT(*) FROM audit_events WHERE chain = '{GLOBEX}' AND action = 'tenant.purged' AND tenant_id IS NULL"
    );
    assert_eq!(db.number(&last).await, 1);
}

pub(crate) async fn a_dedicated_project_goes_with_its_last_tenant(db: Database) {
    let store = world(&db).await;
    let (project_id, first, second) = (fresh(), fresh(), fresh());
    let new = project(project_id, "initech", domain::model::ProjectKind::Dedicated);
    change!(store, |tx, new| tx.insert_project(&system(), new.clone())).unwrap();
    for (id, slug) in [(first, "initech"), (second, "initrode")] {
        let new = tenant(id, project_id, slug);
        change!(store, |tx, new| tx.insert_tenant(&system(), new.clone())).unwrap();
        change!(store, |tx| tx.delete_tenant(&system(), id)).unwrap();
    }
    let named = hostname(fresh(), first, "login.initech.example");
    let own = NewHostname { project_id, tenant_id: None, services: Vec::new(), ..named };
    change!(store, |tx, own| tx.insert_hostname(&system(), own.clone())).unwrap();
    store.tick(NOW).await.unwrap();
    assert!(purge(&store, first).await);
    assert!(store.project(project_id).await.unwrap().is_some());
    assert!(purge(&store, second).await);
    assert!(store.project(project_id).await.unwrap().is_none());
    let tick = store.tick(NOW).await.unwrap();
    assert!(tick.changes.iter().any(|it| (it.key.kind, it.key.id) == (EntityKind::Project, project_id.uuid())));
    // The project's own name is nobody else's for a while, as a tenant's is, and its end is in the trail.
    let kept = db.number("SELECT COUNT(*) FROM released_hostnames WHERE hostname = 'login.initech.example'").await;
    let told = db.number("SELECT COUNT(*) FROM audit_events WHERE action = 'hostname.deleted'").await;
    assert_eq!((kept, told), (1, 1));
}

pub(crate) async fn a_tenant_that_is_not_on_hold_for_long_enough_is_not_purged(db: Database) {
    let store = world(&db).await;
    assert!(!purge_at_once(&store, ACME).await, "in service");
    change!(store, |tx| tx.delete_tenant(&system(), ACME)).unwrap();
    assert!(!purge_at_once(&store, ACME).await, "just deleted");
    let refused = change!(store, |tx| tx.step_tenant(&system(), ACME, TenantTransition::Resume));
    assert!(matches!(refused, Err(StoreError::TenantState(_))), "deleted is no state to come back from: {refused:?}");
}

async fn purge_at_once(store: &Store, id: TenantId) -> bool {
    let by = &system::<ManageTenants>();
    let purged = store.write(by, NOW, |tx| async move {
        let purged = tx.purge_tenant(by, id, NOW - HOUR, &RULES).await?;
        Ok::<_, StoreError>(purged.map_or(Audited::unchanged(false), |it| it.map(|_| true)))
    });
    purged.await.unwrap().0
}

pub(crate) async fn no_table_of_tenants_is_forgotten(db: Database) {
    let known: Vec<String> = store::purged_tables()
        // The trail outlives tenants, and so does a name's quarantine; hostnames go one by one, with their proofs.
        .chain(["audit_events", "released_hostnames", "hostnames", "hostname_proofs"])
        .map(|table| format!("'{table}'"))
        .collect();
    let known = known.join(", ");
    for column in ["tenant_id", "project_id"] {
        // What hangs on a tenant is found by it; of projects only what is no tenant's counts.
        let sql = if db.postgres().await.is_some() {
            format!(
                "SELECT COUNT(DISTINCT table_name) FROM information_schema.columns
                 WHERE table_schema = current_schema() AND column_name = '{column}' AND table_name <> 'tenants'
                     AND table_name NOT IN ({known})"
            )
        } else {
            format!(
                "SELECT COUNT(DISTINCT t.name) FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
                 WHERE t.type = 'table' AND c.name = '{column}' AND t.name <> 'tenants' AND t.name NOT IN ({known})"
            )
        };
        assert_eq!(db.number(&sql).await, 0, "tables with `{column}` that a purge does not empty");
    }
}

async fn claim(store: &Store, seen: &Provisioning, at: Timestamp) -> Option<Provisioning> {
    let claimed = store.write_session(Scope::Platform, at, |tx| async move { tx.claim_provisioning(seen, HOUR).await });
    claimed.await.unwrap()
}

pub(crate) async fn of_many_claims_of_a_provisioning_one_wins(db: Database) {
    let store = world(&db).await;
    let begun = Provisioning::begun(CLOUD, ACME, NOW);
    change!(store, |tx, begun| tx.begin_provisioning(&system(), begun.clone())).unwrap();
    let due = store.due_provisionings(NOW, 10).await.unwrap();
    let [seen] = &due[..] else { panic!("{due:?}") };
    let claims = (0..8).map(|_| {
        let (store, seen) = (store.clone(), seen.clone());
        tokio::spawn(async move { claim(&store, &seen, NOW).await })
    });
    let won: Vec<_> = join_all(claims).await.into_iter().filter_map(Result::unwrap).collect();
    let [mine] = &won[..] else { panic!("{won:?}") };
    assert_eq!(mine.attempts, 1);
    assert!(store.due_provisionings(NOW, 10).await.unwrap().is_empty(), "nobody else for a while");

    // The first was never heard of again; the second notes what it found, and the first, late, nothing.
    let seen = store.due_provisionings(NOW + HOUR, 10).await.unwrap().remove(0);
    let mut second = claim(&store, &seen, NOW + HOUR).await.unwrap();
    for step in ProvisioningStep::ALL {
        second.note(step, NOW + HOUR, None);
    }
    second.next_at = None;
    assert!(note(&store, &second).await);
    assert!(!note(&store, mine).await);
    let noted = store.provisioning(ACME).await.unwrap().unwrap();
    assert_eq!((noted.next_step(), noted.next_at, noted.attempts), (None, None, 2));
}

async fn note(store: &Store, found: &Provisioning) -> bool {
    let by = &system::<ManageTenants>();
    let noted = store.write(by, NOW, |tx| async move {
        match tx.note_provisioning(by, found.clone()).await? {
            Some(change) => Ok::<_, StoreError>(tx.done("provisioned", change).await?.map(|_| true)),
            None => Ok(Audited::unchanged(false)),
        }
    });
    noted.await.unwrap().0
}

pub(crate) async fn provisionings_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    for id in [ACME, GLOBEX] {
        let begun = Provisioning::begun(CLOUD, id, NOW);
        change!(store, |tx, begun| tx.begin_provisioning(&system(), begun.clone())).unwrap();
    }
    let Some(client) = db.postgres().await else { return };
    let acme = store.within(Scope::Tenant(CLOUD, ACME));
    assert!(acme.provisioning(GLOBEX).await.unwrap().is_none());
    assert!(acme.provisioning(ACME).await.unwrap().is_some());
    for (scope, expected) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1),
        (scope_settings("project", Some(CLOUD), None), 2),
        (scope_settings("project", Some(ROOT), None), 0),
        (String::new(), 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        let row = client.query_one("SELECT COUNT(*) FROM provisionings", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), expected, "under `{scope}`");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}
