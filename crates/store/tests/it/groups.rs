//! Groups: what is bound to one, all its members hold, from when they come in to when they leave.

use authz::action::{ManageGroups, ManageUsers};
use domain::{
    Fact, GroupId, Secret,
    model::{NewGroup, NewRoleBinding, RoleSubject, builtin},
};
use store::{
    Administrators, Audited, Store, StoreError,
    list::{GroupList, GroupMemberList, Selection},
    read::*,
};

use crate::{
    edge,
    harness::{Database, NOW},
    identity::{facts, with_builtin_roles},
    world::*,
};

fn bound(group: GroupId, role: domain::RoleId) -> NewRoleBinding {
    NewRoleBinding { subject: RoleSubject::Group(group), ..binding(role, ACME, ANN) }
}

/// A group of acme with Ann in it, and nothing bound to it.
async fn group(store: &Store) -> GroupId {
    with_builtin_roles(store).await;
    let new =
        NewGroup { id: fresh(), project_id: CLOUD, tenant_id: ACME, name: "staff".into(), description: String::new() };
    change!(store, |tx, new| tx.insert_group(&system(), new.clone())).unwrap();
    change!(store, |tx| tx.insert_group_member(&system(), (ACME, new.id), ANN)).unwrap();
    new.id
}

async fn roles(store: &Store) -> Vec<domain::RoleId> {
    store.bindings(ACME, ANN).await.unwrap().roles
}

pub(crate) async fn a_group_grants_nothing_without_a_binding_and_all_of_it_to_its_members(db: Database) {
    let store = world(&db).await;
    let group = group(&store).await;
    assert!(roles(&store).await.is_empty());
    store.tick(NOW).await.unwrap();
    let given = bound(group, builtin::AUDITOR);
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    assert_eq!(roles(&store).await, [builtin::AUDITOR]);
    let changed = [Fact::BindingsChanged { tenant: ACME, user: ANN }];
    assert_eq!(facts(&store.tick(NOW).await.unwrap().facts), changed);
    change!(store, |tx| tx.delete_group_member(&system(), (ACME, group), ANN)).unwrap();
    assert!(roles(&store).await.is_empty());
    assert_eq!(facts(&store.tick(NOW).await.unwrap().facts), changed);
    change!(store, |tx| tx.insert_group_member(&system(), (ACME, group), ANN)).unwrap();
    assert_eq!(facts(&store.tick(NOW).await.unwrap().facts), changed);
    change!(store, |tx| tx.delete_group(&system(), ACME, group)).unwrap();
    assert!(roles(&store).await.is_empty());
    assert_eq!(facts(&store.tick(NOW).await.unwrap().facts), changed);
    assert_eq!(db.number("SELECT COUNT(*) FROM role_bindings").await, 0);
}

pub(crate) async fn a_binding_taken_from_a_group_is_told_of_whoever_came_in_meanwhile(db: Database) {
    let store = world(&db).await;
    let group = group(&store).await;
    for _ in 0..8 {
        change!(store, |tx| tx.delete_group_member(&system(), (ACME, group), ANN)).unwrap();
        let given = bound(group, builtin::AUDITOR);
        change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
        store.tick(NOW).await.unwrap();
        let (taking, coming) = (store.clone(), store.clone());
        let taken = async move { change!(taking, |tx| tx.delete_role_binding(&system(), given.id)) };
        let came = async move { change!(coming, |tx| tx.insert_group_member(&system(), (ACME, group), ANN)) };
        let (taken, came) = tokio::join!(tokio::spawn(taken), tokio::spawn(came));
        taken.unwrap().unwrap();
        came.unwrap().unwrap();
        assert!(roles(&store).await.is_empty());
        // The last that is told of her was left when she held nothing any more: nobody goes on with what was read before.
        let told = store.tick(NOW).await.unwrap().facts;
        let by_order = told.iter().filter(|it| it.fact == Fact::BindingsChanged { tenant: ACME, user: ANN }).count();
        assert!((1..=2).contains(&by_order), "{told:?}");
    }
}

pub(crate) async fn a_binding_on_a_large_group_is_one_fact_of_its_tenant(db: Database) {
    let store = world(&db).await;
    let group = group(&store).await;
    let (by, by_group) = (&system::<ManageUsers>(), &system::<ManageGroups>());
    let filled = store.write(by, NOW, |tx| async move {
        for n in 0..200 {
            let new = user(fresh(), &format!("member-{n}"));
            let id = new.id;
            tx.created(tx.insert_user(by, new).await?).await?;
            tx.created(tx.insert_membership(by, membership(ACME, id)).await?).await?;
            tx.created(tx.insert_group_member(by_group, (ACME, group), id).await?).await?;
        }
        Ok::<_, StoreError>(Audited::unchanged(()))
    });
    filled.await.unwrap();
    store.tick(NOW).await.unwrap();
    let given = bound(group, builtin::AUDITOR);
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    let told = facts(&store.tick(NOW).await.unwrap().facts);
    assert_eq!(told, [Fact::TenantBindingsChanged { tenant: ACME }], "201 members");
    change!(store, |tx| tx.delete_role_binding(&system(), given.id)).unwrap();
    let told = facts(&store.tick(NOW).await.unwrap().facts);
    assert_eq!(told, [Fact::TenantBindingsChanged { tenant: ACME }]);
    // A gateway that does not know that fact could apply nothing behind it.
    edge::reported(&store, 4, NOW).await;
    let given = bound(group, builtin::AUDITOR);
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    let told = facts(&store.tick(NOW).await.unwrap().facts);
    assert_eq!(told.len(), 201, "each is named");
    assert!(
        told.iter().all(|fact| matches!(fact, Fact::BindingsChanged { tenant, .. } if *tenant == ACME)),
        "{told:?}"
    );
}

pub(crate) async fn who_leaves_a_tenant_leaves_its_groups(db: Database) {
    let store = world(&db).await;
    let group = group(&store).await;
    let given = bound(group, builtin::AUDITOR);
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    assert!(listed::<GroupMemberList>(&store, (ACME, group)).await.is_empty());
    change!(store, |tx| tx.insert_membership(&system(), membership(ACME, ANN))).unwrap();
    assert!(roles(&store).await.is_empty(), "old roles do not come back");
}

pub(crate) async fn groups_are_invisible_to_other_tenants_and_take_their_own_members_only(db: Database) {
    let store = world(&db).await;
    let group = group(&store).await;
    let stranger = change!(store, |tx| tx.insert_group_member(&system(), (ACME, group), GUS));
    assert!(matches!(stranger, Err(StoreError::NotFound { .. })), "{stranger:?}");
    assert!(store.group(GLOBEX, group).await.unwrap().is_none());
    let elsewhere = NewRoleBinding { tenant_id: GLOBEX, ..bound(group, builtin::AUDITOR) };
    let refused = change!(store, |tx, elsewhere| tx.insert_role_binding(&system(), elsewhere.clone()));
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    if db.postgres().await.is_some() {
        let globex = store.within(authz::Scope::Tenant(CLOUD, GLOBEX));
        assert!(globex.list::<GroupList>(ACME, &Selection::default()).await.unwrap().rows.is_empty());
        assert!(listed::<GroupMemberList>(&globex, (ACME, group)).await.is_empty());
    }
    let platform = bound(group, builtin::PLATFORM_ADMIN);
    let refused = change!(store, |tx, platform| tx.insert_role_binding(&system(), platform.clone()));
    assert!(matches!(refused, Err(StoreError::Rule { .. })), "{refused:?}");
}

pub(crate) async fn a_tenant_is_administered_by_who_is_active_of_their_own_or_by_a_group(db: Database) {
    let store = world(&db).await;
    let group = group(&store).await;
    let is = async || store.is_administered(ACME, Administrators::Any).await.unwrap();
    assert!(!is().await);
    let given = bound(group, builtin::ADMIN);
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    assert!(is().await);
    change!(store, |tx| tx.delete_group_member(&system(), (ACME, group), ANN)).unwrap();
    assert!(!is().await);
    change!(store, |tx| tx.insert_role_binding(&system(), binding(builtin::OWNER, ACME, ANN))).unwrap();
    assert!(is().await);
    let mut ann = store.user(ANN).await.unwrap().unwrap();
    ann.status = domain::model::UserStatus::Disabled;
    change!(store, |tx, ann| tx.update_user(&system(), ann.clone())).unwrap();
    assert!(!is().await);
    assert!(!store.is_administered(GLOBEX, Administrators::Any).await.unwrap());
    // Who could not sign in here now does not stand in for an emergency administrator.
    ann = store.user(ANN).await.unwrap().unwrap();
    ann.status = domain::model::UserStatus::Active;
    change!(store, |tx, ann| tx.update_user(&system(), ann.clone())).unwrap();
    let signs_in = async || store.is_administered(ACME, Administrators::WithPassword).await.unwrap();
    assert!(is().await && !signs_in().await, "without a password");
    let hash = Secret::new("$argon2id$x".to_owned());
    change!(store, |tx, hash| tx.set_password(&system(), ANN, hash, true)).unwrap();
    assert!(!signs_in().await, "with one that is to be changed");
    change!(store, |tx, hash| tx.set_password(&system(), ANN, hash, false)).unwrap();
    assert!(signs_in().await);
}
