//! Two walls between tenants: predicates on both databases, and row level security on PostgreSQL.

use std::{pin::pin, time::Duration};

use authz::{Caller, Context, PermissionSet, Scope, action::*};
use domain::{
    TokenId,
    audit::{Actor, ActorKind, Origin},
    model::RouteOwner,
    snapshot::RoleScope,
};
use futures::{join, poll, try_join};
use store::{Page, StoreError, read::*};

use crate::{
    harness::{Database, NOW},
    world::*,
};

pub(crate) async fn a_route_is_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    let own = route(RouteOwner::Hostname(ACME_HOST), "/acme-only", &[]);
    let id = own.rule.id;
    change!(store, |tx, own| tx.insert_route(&system(), own.clone())).unwrap();
    assert_eq!(store.routes_of_tenant(ACME, Page::FIRST).await.unwrap().len(), 1);
    assert!(store.routes_of_tenant(GLOBEX, Page::FIRST).await.unwrap().is_empty());
    let Some(client) = db.postgres().await else { return };
    let globex = store.within(Scope::Tenant(CLOUD, GLOBEX));
    assert!(globex.route(id).await.unwrap().is_none());
    assert!(store.within(Scope::Tenant(CLOUD, ACME)).route(id).await.unwrap().is_some());
    // Without any predicate, and without any scope.
    for (scope, routes, tenants) in [
        (scope_settings("tenant", Some(CLOUD), Some(ACME)), 1, 1),
        (scope_settings("tenant", Some(CLOUD), Some(GLOBEX)), 0, 1),
        (scope_settings("tenant", Some(ROOT), Some(ACME)), 0, 0),
        (scope_settings("project", Some(CLOUD), None), 1, 2),
        (scope_settings("platform", None, None), 1, 3),
        (String::new(), 0, 0),
    ] {
        client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
        for (table, expected) in [("routes", routes), ("tenants", tenants)] {
            let row = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
            assert_eq!(row.get::<_, i64>(0), expected, "{table} under `{scope}`");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

pub(crate) async fn a_tenants_administrator_works_within_the_walls(db: Database) {
    let store = world(&db).await;
    let admin = Caller {
        actor: Actor { kind: ActorKind::User, id: None, name: "ann".into() },
        origin: Origin::default(),
        context: Context::Tenant(CLOUD, ACME),
        permissions: PermissionSet::default(),
        is_admin: true,
        is_super_admin: false,
    };
    let scope = Scope::Tenant(CLOUD, ACME);
    let users = admin.authorize::<ManageUsers>(&"tenant:user:create".parse().unwrap(), scope).unwrap();
    let roles = admin.authorize::<ManageRoles>(&"tenant:role:create".parse().unwrap(), scope).unwrap();
    let given = admin.authorize::<ManageRoleBindings>(&"tenant:role-binding:create".parse().unwrap(), scope).unwrap();
    let routes = admin.authorize::<ManageRoutes>(&"tenant:route:create".parse().unwrap(), scope).unwrap();
    let (mia, clerk) = (fresh(), role(ACME, RoleScope::Tenant, "clerk", &["shop:order:list"]));
    let (users, roles, given, routes, clerk) = (&users, &roles, &given, &routes, &clerk);
    store
        .write(users, NOW, |tx| async move {
            tx.created(tx.insert_user(users, user(mia, "mia")).await?).await?;
            tx.created(tx.insert_membership(users, membership(ACME, mia)).await?).await?;
            tx.created(tx.insert_role(roles, clerk.clone()).await?).await?;
            tx.created(tx.insert_role_binding(given, binding(clerk.id, ACME, mia)).await?).await?;
            let own = route(RouteOwner::Hostname(ACME_HOST), "/own", &[]);
            tx.created(tx.insert_route(routes, own).await?).await
        })
        .await
        .unwrap();
    assert_eq!(store.within(scope).bindings(ACME, mia).await.unwrap().roles, [clerk.id]);
    let tick = store.tick(NOW).await.unwrap();
    assert_eq!((tick.changes.len(), tick.facts.len()), (2, 2), "role and hostname, membership and binding");
    // Nothing of another tenant's.
    for outcome in [
        store
            .write(users, NOW, |tx| async move {
                tx.created(tx.insert_membership(users, membership(GLOBEX, mia)).await?).await.map(|it| it.map(drop))
            })
            .await,
        store
            .write(users, NOW, |tx| async move {
                tx.deleted(tx.delete_user(users, GUS).await?).await.map(|it| it.map(drop))
            })
            .await,
        store
            .write(users, NOW, |tx| async move {
                let foreign = route(RouteOwner::Hostname(GLOBEX_HOST), "/theirs", &[]);
                tx.created(tx.insert_route(routes, foreign).await?).await.map(|it| it.map(drop))
            })
            .await,
        store
            .write(users, NOW, |tx| async move {
                let shared = route(RouteOwner::Service(SHOP), "/shared", &[]);
                tx.created(tx.insert_route(routes, shared).await?).await.map(|it| it.map(drop))
            })
            .await,
    ] {
        assert!(matches!(outcome, Err(StoreError::OutOfScope | StoreError::NotFound { .. })), "{outcome:?}");
    }
}

pub(crate) async fn members_and_sessions_are_invisible_to_other_tenants(db: Database) {
    let store = world(&db).await;
    assert!(store.user_of_tenant(ACME, ANN).await.unwrap().is_some());
    assert!(store.user_of_tenant(GLOBEX, ANN).await.unwrap().is_none());
    assert_eq!(store.users_of_tenant(GLOBEX, Page::FIRST).await.unwrap().len(), 1);
    let Some(client) = db.postgres().await else { return };
    // Every table with a tenant or project in it, with the settings unset: nothing.
    let tables = client
        .query(
            "SELECT DISTINCT table_name::text FROM information_schema.columns
             WHERE table_schema = current_schema() AND column_name IN ('tenant_id', 'project_id')",
            &[],
        )
        .await
        .unwrap();
    assert!(tables.len() >= 14);
    client.batch_execute("BEGIN; SET LOCAL ROLE portcullis_runtime").await.unwrap();
    for row in &tables {
        let table: String = row.get(0);
        // Rows of nobody are everybody's to read: there are none in this world.
        let count = client.query_one(&format!("SELECT COUNT(*) FROM {table}"), &[]).await.unwrap();
        assert_eq!(count.get::<_, i64>(0), 0, "{table}");
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    // And what is not one's own cannot be written either.
    let scope = scope_settings("tenant", Some(CLOUD), Some(GLOBEX));
    client.batch_execute(&format!("BEGIN; SET LOCAL ROLE portcullis_runtime; {scope}")).await.unwrap();
    let stolen = client.execute("UPDATE memberships SET status = 'inactive'", &[]).await.unwrap();
    assert_eq!(stolen, 1, "only its own");
    let moved = client.execute(&format!("UPDATE memberships SET tenant_id = '{ACME}'"), &[]).await;
    assert!(moved.is_err(), "rows cannot be moved to another tenant");
    client.batch_execute("ROLLBACK").await.unwrap();
}

pub(crate) fn scope_settings(
    name: &str,
    project: Option<domain::ProjectId>,
    tenant: Option<domain::TenantId>,
) -> String {
    let text = |id: Option<String>| id.unwrap_or_default();
    format!(
        "SELECT set_config('app.scope', '{name}', TRUE), set_config('app.project_id', '{}', TRUE),
                set_config('app.tenant_id', '{}', TRUE)",
        text(project.map(|id| id.to_string())),
        text(tenant.map(|id| id.to_string()))
    )
}

pub(crate) async fn what_is_asked_at_once_is_answered_in_order_and_within_the_walls(db: Database) {
    let many = world(&db).await;
    let store = many.separate(1).unwrap();
    for _ in 0..10 {
        let view = store.view().await.unwrap();
        // Who gives up leaves the one connection there is as it was.
        _ = poll!(pin!(view.tenant(ACME)));
        drop(view);
        let view = store.view().await.unwrap();
        let scope = Scope::Tenant(CLOUD, ACME);
        let ((), own, other, user, bindings) = try_join!(
            view.narrow(scope),
            view.tenant(ACME),
            view.tenant(GLOBEX),
            view.user(ANN),
            view.bindings(ACME, ANN)
        )
        .unwrap();
        assert_eq!((own.unwrap().id, user.unwrap().id), (ACME, ANN));
        assert_eq!(other.is_none(), db.postgres().await.is_some(), "the second wall is PostgreSQL's");
        assert_eq!(bindings, many.bindings(ACME, ANN).await.unwrap());
        drop(view);
        let jti: TokenId = fresh();
        let told = store.write_session(scope, NOW, |tx| async move {
            let (refused, is_refused) =
                join!(tx.refuse_token(jti, NOW + Duration::from_secs(60)), tx.is_token_refused(jti, NOW));
            refused?;
            is_refused
        });
        assert!(told.await.unwrap(), "what was asked first was done first");
    }
}
