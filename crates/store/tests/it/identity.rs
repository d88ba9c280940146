//! Users, memberships, roles and bindings.

use authz::action::*;
use domain::{
    Fact, NumberedFact,
    model::{NewOrgUnit, NewRoleBinding, UserStatus, builtin},
    snapshot::RoleScope,
};
use store::{Audited, Store, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn with_builtin_roles(store: &Store) -> usize {
    let by = system::<ManageRoles>();
    let ensured = store.write(&by, NOW, |tx| async move {
        let mut changed = 0;
        for role in builtin::all() {
            if let Some(role) = tx.ensure_builtin_role(&system(), role).await? {
                tx.created(role).await?;
                changed += 1;
            }
        }
        Ok::<_, StoreError>(Audited::unchanged(changed))
    });
    ensured.await.unwrap().0
}

pub(crate) async fn the_built_in_roles_are_ensured_once(db: Database) {
    let store = world(&db).await;
    assert_eq!(with_builtin_roles(&store).await, 10);
    assert_eq!(with_builtin_roles(&store).await, 0);
    assert_eq!(store.builtin_roles().await.unwrap().len(), 10);
    let admin = store.role(builtin::ADMIN).await.unwrap().unwrap();
    let refused = change!(store, |tx, admin| tx.update_role(&system(), admin.clone()));
    assert!(matches!(refused, Err(StoreError::OutOfScope)), "{refused:?}");
}

pub(crate) async fn a_user_is_found_by_name_or_email_in_any_case(db: Database) {
    let store = world(&db).await;
    for name in ["ann", "ANN", " ann@example.com", "Ann@Example.com"] {
        assert_eq!(store.user_by_login(CLOUD, name).await.unwrap().unwrap().id, ANN, "{name}");
    }
    assert!(store.user_by_login(ROOT, "ann").await.unwrap().is_none(), "another project's");
}

pub(crate) async fn bindings_carry_the_head_they_were_read_at(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    let before = store.bindings(ACME, ANN).await.unwrap();
    assert!(before.active && before.roles.is_empty());
    change!(store, |tx| tx.insert_role_binding(&system(), binding(builtin::MEMBER, ACME, ANN))).unwrap();
    let unnumbered = store.bindings(ACME, ANN).await.unwrap();
    assert_eq!((unnumbered.as_of, unnumbered.roles.as_slice()), (before.as_of, &[builtin::MEMBER][..]));
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(facts(&tick.facts), [Fact::BindingsChanged { tenant: ACME, user: ANN }]);
    assert_eq!(store.bindings(ACME, ANN).await.unwrap().as_of, tick.head.seq);
    assert!(!store.bindings(GLOBEX, ANN).await.unwrap().active, "no member there");
}

pub(crate) async fn a_binding_is_refused_where_the_role_does_not_belong(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    let foreign = role(GLOBEX, RoleScope::Tenant, "clerk", &["shop:order:list"]);
    change!(store, |tx, foreign| tx.insert_role(&system(), foreign.clone())).unwrap();
    for (role, tenant, user) in [
        (foreign.id, ACME, ANN),
        (builtin::PLATFORM_ADMIN, ACME, ANN),
        (builtin::OU_ADMIN, ACME, ANN),
        (builtin::MEMBER, ACME, GUS),
    ] {
        let refused = change!(store, |tx| tx.insert_role_binding(&system(), binding(role, tenant, user)));
        let expected = matches!(refused, Err(StoreError::Rule { .. } | StoreError::NotFound { .. }));
        assert!(expected, "{role} {refused:?}");
    }
    change!(store, |tx| tx.insert_role_binding(&system(), binding(builtin::MEMBER, ACME, ANN))).unwrap();
    let twice = change!(store, |tx| tx.insert_role_binding(&system(), binding(builtin::MEMBER, ACME, ANN)));
    assert!(twice.unwrap_err().is_conflict("role_bindings", "role_id"));
}

pub(crate) async fn a_role_that_loses_a_grant_narrows(db: Database) {
    let store = world(&db).await;
    let new = role(ACME, RoleScope::Tenant, "clerk", &["shop:order:list", "shop:order:get"]);
    let (mut clerk, _) = change!(store, |tx, new| tx.insert_role(&system(), new.clone())).unwrap();
    clerk.permissions.push("shop:*".parse().unwrap());
    let (mut wider, _) = change!(store, |tx, clerk| tx.update_role(&system(), clerk.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert!(tick.min_revision < tick.revision, "more grants narrow nothing");
    wider.permissions = vec!["shop:order:*".parse().unwrap()];
    change!(store, |tx, wider| tx.update_role(&system(), wider.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(tick.min_revision, tick.revision);
}

pub(crate) async fn disabling_a_user_refuses_their_tokens(db: Database) {
    let store = world(&db).await;
    let mut ann = store.user(ANN).await.unwrap().unwrap();
    ann.status = UserStatus::Disabled;
    change!(store, |tx, ann| tx.update_user(&system(), ann.clone())).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(
        facts(&tick.facts),
        [
            Fact::UserGeneration { tenant: ACME, user: ANN, generation: 1, cutoff: Some(NOW) },
            Fact::BindingsChanged { tenant: ACME, user: ANN }
        ]
    );
    assert!(!store.bindings(ACME, ANN).await.unwrap().active);
}

pub(crate) async fn leaving_a_tenant_takes_everything_along(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    change!(store, |tx| tx.insert_role_binding(&system(), binding(builtin::MEMBER, ACME, ANN))).unwrap();
    store.tick(NOW).await.unwrap();
    change!(store, |tx| tx.delete_membership(&system(), ACME, ANN)).unwrap();
    let tick = store.tick(NOW).await.unwrap();
    assert!(facts(&tick.facts).contains(&Fact::UserGeneration {
        tenant: ACME,
        user: ANN,
        generation: 1,
        cutoff: Some(NOW)
    }));
    let bindings = store.bindings(ACME, ANN).await.unwrap();
    assert!(!bindings.active && bindings.roles.is_empty());
    change!(store, |tx| tx.insert_membership(&system(), membership(ACME, ANN))).unwrap();
    assert!(store.bindings(ACME, ANN).await.unwrap().roles.is_empty(), "old roles do not come back");
}

pub(crate) async fn roles_in_a_deleted_unit_grant_nothing(db: Database) {
    let store = world(&db).await;
    with_builtin_roles(&store).await;
    let unit = fresh();
    let new = NewOrgUnit {
        id: unit,
        project_id: CLOUD,
        tenant_id: ACME,
        name: "sales".into(),
        description: String::new(),
        created_by: None,
    };
    change!(store, |tx, new| tx.insert_org_unit(&system(), new.clone())).unwrap();
    let given = NewRoleBinding { ou_id: Some(unit), ..binding(builtin::OU_ADMIN, ACME, ANN) };
    change!(store, |tx, given| tx.insert_role_binding(&system(), given.clone())).unwrap();
    assert_eq!(store.bindings(ACME, ANN).await.unwrap().unit_roles, [(unit, builtin::OU_ADMIN)]);
    store.tick(NOW).await.unwrap();
    change!(store, |tx| tx.delete_org_unit(&system(), (ACME, unit), NOW)).unwrap();
    assert!(store.bindings(ACME, ANN).await.unwrap().unit_roles.is_empty());
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!(facts(&tick.facts), [Fact::BindingsChanged { tenant: ACME, user: ANN }]);
    change!(store, |tx, new| tx.insert_org_unit(&system(), NewOrgUnit { id: fresh(), ..new.clone() })).unwrap();
}

pub(crate) async fn the_emergency_administrator_cannot_be_deleted(db: Database) {
    let store = world(&db).await;
    let mut new = user(fresh(), "glass");
    new.is_break_glass = true;
    change!(store, |tx, new| tx.insert_user(&system(), new.clone())).unwrap();
    let refused = change!(store, |tx| tx.delete_user(&system(), new.id));
    assert!(matches!(refused, Err(StoreError::Rule { code: "user_is_break_glass", .. })), "{refused:?}");
    change!(store, |tx| tx.delete_user(&system(), ANN)).unwrap();
    assert!(store.user(ANN).await.unwrap().is_none());
    let tick = store.tick(NOW).await.unwrap();
    assert!(facts(&tick.facts).contains(&Fact::UserGeneration {
        tenant: ACME,
        user: ANN,
        generation: 1,
        cutoff: Some(NOW)
    }));
}

pub(crate) fn facts(numbered: &[NumberedFact]) -> Vec<Fact> {
    numbered.iter().map(|it| it.fact.clone()).collect()
}
