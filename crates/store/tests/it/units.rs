//! Organisational units, who is in them, and what was asked of them.

use authz::action::{ManageGroups, ManageOrgUnits};
use domain::{
    Fact, FleetName, OrgUnitId, RequestId, UserId,
    access::{AccessRecord, AccessReport, UnitCount, UnitUsage},
    decision::Shown,
    model::{NewGroup, NewOrgUnit, NewRoleBinding, UnitRole, builtin},
    org_unit::MAX_ORG_UNITS,
    quota::{Period, Span},
    snapshot::Entity,
};
use store::{
    AccessQuery, Store, StoreError,
    list::{DeletedOrgUnitList, Selection, UnitMemberList},
    read::*,
};
use uuid::Uuid;

use crate::{
    harness::{Database, NOW},
    identity::{facts, with_builtin_roles},
    world::*,
};

pub(crate) fn unit(id: OrgUnitId, tenant: domain::TenantId, name: &str) -> NewOrgUnit {
    NewOrgUnit {
        id,
        project_id: CLOUD,
        tenant_id: tenant,
        name: name.into(),
        description: String::new(),
        created_by: Some(ANN),
    }
}

pub(crate) async fn made(store: &Store, name: &str) -> OrgUnitId {
    let new = unit(fresh(), ACME, name);
    change!(store, |tx, new| tx.insert_org_unit(&system(), new.clone())).unwrap();
    new.id
}

async fn deleted(store: &Store, id: OrgUnitId) {
    change!(store, |tx| tx.delete_org_unit(&system(), (ACME, id), NOW)).unwrap();
}

/// The units of acme as the edge was last told.
pub(crate) async fn told(store: &Store) -> Vec<OrgUnitId> {
    let changes = store.tick(NOW).await.unwrap().changes;
    let last = changes.into_iter().rev().find_map(|change| match change.entity {
        Some(Entity::Tenant(tenant)) if tenant.id == ACME => Some(tenant.org_units),
        _ => None,
    });
    last.unwrap().into_iter().collect()
}

pub(crate) async fn the_edge_is_told_of_the_units_that_live(db: Database) {
    let store = world(&db).await;
    let sales = made(&store, "sales").await;
    assert_eq!(told(&store).await, [sales]);
    deleted(&store, sales).await;
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision, "who has not heard of it holds no lease");
    let back = change!(store, |tx| tx.restore_org_unit(&system(), (ACME, sales)));
    assert!(matches!(back, Err(StoreError::NotFound { .. })), "its hold is over: {back:?}");
}

pub(crate) async fn a_deleted_unit_comes_back_with_its_roles_unless_its_name_is_taken(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    let sales = made(&store, "sales").await;
    let given = NewRoleBinding { ou_id: Some(sales), ..binding(builtin::OU_ADMIN, ACME, ANN) };
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    let later = NOW + std::time::Duration::from_secs(60);
    change!(store, |tx| tx.delete_org_unit(&system(), (ACME, sales), later)).unwrap();
    assert!(store.org_unit(ACME, sales).await.unwrap().is_none());
    assert_eq!(store.list::<DeletedOrgUnitList>(ACME, &Selection::default()).await.unwrap().rows.len(), 1);
    assert!(store.bindings(ACME, ANN).await.unwrap().unit_roles.is_empty());
    let other = made(&store, "sales").await;
    let taken = change!(store, |tx| tx.restore_org_unit(&system(), (ACME, sales)));
    assert!(taken.unwrap_err().is_conflict("org_units", "name"));
    deleted(&store, other).await;
    store.tick(NOW).await.unwrap();
    change!(store, |tx| tx.restore_org_unit(&system(), (ACME, sales))).unwrap();
    assert_eq!(store.bindings(ACME, ANN).await.unwrap().unit_roles, [(sales, builtin::OU_ADMIN)]);
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(facts(&tick.facts), [Fact::BindingsChanged { tenant: ACME, user: ANN }]);
}

pub(crate) async fn of_many_that_purge_a_unit_at_once_one_does(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    let sales = made(&store, "sales").await;
    let given = NewRoleBinding { ou_id: Some(sales), ..binding(builtin::OU_ADMIN, ACME, ANN) };
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    let lives = change!(store, |tx| tx.purge_org_unit(&system(), (ACME, sales)));
    assert!(matches!(lives, Err(StoreError::NotFound { .. })), "{lives:?}");
    deleted(&store, sales).await;
    let due = store.org_units_to_purge(NOW, 10).await.unwrap();
    assert_eq!(due.iter().map(|unit| unit.id).collect::<Vec<_>>(), [sales]);
    let tries = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { change!(store, |tx| tx.purge_org_unit(&system(), (ACME, sales))) })
    });
    let mut done = 0;
    for outcome in futures::future::join_all(tries).await {
        match outcome.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}"),
        }
    }
    assert_eq!(done, 1);
    assert!(store.any_org_unit(ACME, sales).await.unwrap().is_none());
    assert_eq!(db.number("SELECT COUNT(*) FROM role_bindings WHERE ou_id IS NOT NULL").await, 0);
}

pub(crate) async fn a_tenant_has_so_many_units_and_no_more(db: Database) {
    let store = world(&db).await;
    let by = system::<authz::action::ManageOrgUnits>();
    let by = &by;
    let filled = store.write(by, NOW, |tx| async move {
        let mut last = None;
        for n in 0..MAX_ORG_UNITS {
            last = Some(tx.created(tx.insert_org_unit(by, unit(fresh(), ACME, &format!("unit {n}"))).await?).await?);
        }
        Ok::<_, StoreError>(last.unwrap())
    });
    let (last, _) = filled.await.unwrap();
    let more = unit(fresh(), ACME, "one more");
    let refused = change!(store, |tx, more| tx.insert_org_unit(&system(), more.clone()));
    assert!(matches!(refused, Err(StoreError::Rule { code: "org_unit_limit", .. })), "{refused:?}");
    deleted(&store, last.id).await;
    change!(store, |tx, more| tx.insert_org_unit(&system(), more.clone())).unwrap();
}

pub(crate) async fn a_member_is_one_thing_in_a_unit_however_many_say_so_at_once(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    let sales = made(&store, "sales").await;
    let puts = (0..9).map(|n| {
        let (store, role) = (store.clone(), UnitRole::ALL[n % 3]);
        tokio::spawn(async move {
            let id = fresh();
            change!(store, |tx| tx.put_unit_member(&system(), (ACME, sales, ANN), (id, role)))
        })
    });
    for outcome in futures::future::join_all(puts).await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(store.bindings(ACME, ANN).await.unwrap().unit_roles.len(), 1);
    let members = listed::<UnitMemberList>(&store, (ACME, sales)).await;
    assert_eq!(members.len(), 1);
    assert_eq!(
        (members[0].user_id, members[0].username.as_deref(), members[0].first_name.as_str()),
        (ANN, Some("ann"), "ann")
    );
    let stranger =
        change!(store, |tx| tx.put_unit_member(&system(), (ACME, sales, GUS), (fresh(), UnitRole::OuDefault)));
    assert!(matches!(stranger, Err(StoreError::NotFound { .. })), "another tenant's user: {stranger:?}");
    store.tick(NOW).await.unwrap();
    change!(store, |tx| tx.delete_unit_member(&system(), (ACME, sales, ANN))).unwrap();
    assert!(listed::<UnitMemberList>(&store, (ACME, sales)).await.is_empty());
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(facts(&tick.facts), [Fact::BindingsChanged { tenant: ACME, user: ANN }]);
}

fn record(unit: OrgUnitId, n: u128, user: UserId) -> AccessRecord {
    AccessRecord {
        request_id: RequestId::new(Uuid::from_u128(n)),
        at: NOW - std::time::Duration::from_secs(u64::try_from(1000 - n).unwrap()),
        tenant_id: ACME,
        ou_id: unit,
        subject: Shown::cut(&user.to_string(), 64),
        ip: [192, 0, 2, 1].into(),
        method: Shown::cut("GET", 8),
        path: Shown::cut("/w/x", 64),
        status: 200,
        user_agent: None,
        latency_us: 7,
    }
}

fn count(unit: OrgUnitId, requests: u64) -> UnitCount {
    let day = Span::at(Period::Day, NOW).number();
    UnitCount {
        tenant_id: ACME,
        ou_id: unit,
        day,
        usage: UnitUsage { requests, bytes_received: requests, bytes_sent: 1 },
    }
}

async fn keep(store: &Store, fleet: Option<&FleetName>, report: &AccessReport) {
    let kept =
        store.write_session(authz::Scope::Platform, NOW, |tx| async move { tx.keep_access(fleet, report).await });
    kept.await.unwrap_or_else(|error: StoreError| panic!("{error:?}"));
}

const ALL: AccessQuery = AccessQuery { from: None, to: None, before: None, limit: 500 };

pub(crate) async fn what_was_asked_of_a_unit_is_read_newest_first_and_forgotten_by_age(db: Database) {
    let store = world(&db).await;
    let sales = made(&store, "sales").await;
    let records: Vec<_> = (1..=5).map(|n| record(sales, n, ANN)).collect();
    let report = AccessReport { records, ..AccessReport::default() };
    keep(&store, None, &report).await;
    keep(&store, None, &report).await;
    let place = (ACME, sales);
    let numbers = |rows: Vec<store::KeptAccess>| rows.iter().map(|it| it.request_id.as_u128()).collect::<Vec<_>>();
    let all = store.access_log(place, &ALL).await.unwrap();
    assert_eq!((all[0].user_id, all[0].ip.as_str(), all[0].status), (Some(ANN), "192.0.2.1", 200));
    let (second, fourth) = (all[3].at, all[1].at);
    assert_eq!(numbers(all), [5, 4, 3, 2, 1]);
    let first = store.access_log(place, &AccessQuery { limit: 2, ..ALL }).await.unwrap();
    let before = first.last().map(|last| (last.at, last.request_id));
    assert_eq!(numbers(first), [5, 4]);
    assert_eq!(numbers(store.access_log(place, &AccessQuery { limit: 2, before, ..ALL }).await.unwrap()), [3, 2]);
    let between = AccessQuery { from: Some(second), to: Some(fourth), ..ALL };
    assert_eq!(numbers(store.access_log(place, &between).await.unwrap()), [3, 2]);
    assert!(store.access_log((GLOBEX, sales), &ALL).await.unwrap().is_empty());
    if db.postgres().await.is_some() {
        let globex = store.within(authz::Scope::Tenant(CLOUD, GLOBEX));
        assert!(globex.access_log(place, &ALL).await.unwrap().is_empty());
    }
    let age = NOW.since(second);
    let kept = |each| store::AccessKept { each, age };
    assert_eq!(store.sweep_access_log(NOW, kept(4)).await.unwrap(), 1);
    assert_eq!(numbers(store.access_log(place, &ALL).await.unwrap()), [5, 4, 3, 2]);
    assert_eq!(store.sweep_access_log(NOW, kept(3)).await.unwrap(), 1);
    assert_eq!(numbers(store.access_log(place, &ALL).await.unwrap()), [5, 4, 3]);
    assert_eq!(store.clear_access_log(ACME, sales).await.unwrap(), 3);
}

pub(crate) async fn a_gateway_tells_of_units_that_are_there_and_its_fleet_serves_only(db: Database) {
    let store = world(&db).await;
    let sales = made(&store, "sales").await;
    let foreign = unit(fresh(), GLOBEX, "theirs");
    change!(store, |tx, foreign| tx.insert_org_unit(&system(), foreign.clone())).unwrap();
    let other: FleetName = "elsewhere".parse().unwrap();
    let told = |records| AccessReport { records, counts: vec![count(sales, 3)], ..AccessReport::default() };
    // Named as another tenant's, or nobody's.
    keep(&store, None, &told(vec![record(foreign.id, 1, ANN), record(fresh(), 2, ANN)])).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM access_log").await, 0);
    assert_eq!(db.number("SELECT COUNT(*) FROM unit_usage").await, 1);
    keep(&store, Some(&other), &told(vec![record(sales, 3, ANN)])).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM access_log").await, 0);
    keep(&store, Some(&FleetName::default()), &told(vec![record(sales, 3, ANN)])).await;
    assert_eq!(db.number("SELECT COUNT(*) FROM access_log").await, 1);
}

pub(crate) async fn what_units_ask_for_is_neither_lost_nor_doubled(db: Database) {
    let store = world(&db).await;
    let sales = made(&store, "sales").await;
    let told = |counter: u128, requests| AccessReport {
        counter: Uuid::from_u128(counter),
        counts: vec![count(sales, requests)],
        ..AccessReport::default()
    };
    // Twice, and out of turn; by two gateways at once.
    for report in [told(1, 5), told(1, 5), told(1, 9), told(1, 7), told(2, 4)] {
        keep(&store, None, &report).await;
    }
    let days = |from: u32, to: u32| {
        let today = Span::at(Period::Day, NOW).number();
        (Span::numbered(Period::Day, today + from - 1), Span::numbered(Period::Day, today + to - 1))
    };
    let used = |days| store.unit_usage(ACME, days, (OrgUnitId::new(Uuid::nil()), 50));
    let sum = UnitUsage { requests: 13, bytes_received: 13, bytes_sent: 2 };
    assert_eq!(used(days(1, 2)).await.unwrap(), [(sales, sum)]);
    assert!(used(days(0, 1)).await.unwrap().is_empty());
    assert!(used(days(2, 3)).await.unwrap().is_empty());
    // It outlives its unit.
    deleted(&store, sales).await;
    change!(store, |tx| tx.purge_org_unit(&system(), (ACME, sales))).unwrap();
    assert_eq!(used(days(1, 2)).await.unwrap(), [(sales, sum)]);
}

pub(crate) async fn a_tenants_administrator_makes_units_and_groups_within_the_walls(db: Database) {
    let store = world(&db).await;
    let scope = authz::Scope::Tenant(CLOUD, ACME);
    let admin = authz::Caller {
        actor: domain::audit::Actor { kind: domain::audit::ActorKind::User, id: Some(ANN.uuid()), name: "ann".into() },
        origin: domain::audit::Origin::default(),
        context: authz::Context::Tenant(CLOUD, ACME),
        permissions: authz::PermissionSet::default(),
        is_admin: true,
        is_super_admin: false,
    };
    let units = admin.authorize::<ManageOrgUnits>(&"tenant:org-unit:create".parse().unwrap(), scope).unwrap();
    let groups = admin.authorize::<ManageGroups>(&"tenant:group:create".parse().unwrap(), scope).unwrap();
    let members = admin.own_unit();
    with_builtin_roles(&store).await;
    let (sales, id) = (unit(fresh(), ACME, "sales"), fresh());
    let group =
        NewGroup { id: fresh(), project_id: CLOUD, tenant_id: ACME, name: "staff".into(), description: String::new() };
    let (units, groups, members, sales, group) = (&units, &groups, &members, &sales, &group);
    let made = store.write(units, NOW, |tx| async move {
        tx.created(tx.insert_org_unit(units, sales.clone()).await?).await?;
        let put = tx.put_unit_member(members, (ACME, sales.id, ANN), (id, UnitRole::OuAdmin)).await?;
        tx.created(put).await?;
        tx.created(tx.insert_group(groups, group.clone()).await?).await?;
        tx.created(tx.insert_group_member(groups, (ACME, group.id), ANN).await?).await?;
        tx.deleted(tx.delete_org_unit(units, (ACME, sales.id), NOW + std::time::Duration::from_secs(1)).await?).await?;
        tx.done("restored", tx.restore_org_unit(units, (ACME, sales.id)).await?).await
    });
    made.await.unwrap();
    assert_eq!(store.within(scope).bindings(ACME, ANN).await.unwrap().unit_roles, [(sales.id, builtin::OU_ADMIN)]);
    assert_eq!(told(&store).await, [sales.id]);
    let foreign = &unit(fresh(), GLOBEX, "theirs");
    let refused = store
        .write(units, NOW, |tx| async move { tx.created(tx.insert_org_unit(units, foreign.clone()).await?).await });
    assert!(matches!(refused.await, Err(StoreError::OutOfScope)));
}
