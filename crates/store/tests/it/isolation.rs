//! Two walls between tenants: predicates on both databases, and row level security on PostgreSQL.

use authz::Scope;
use domain::model::RouteOwner;
use store::{Page, read::*};

use crate::{harness::Database, world::*};

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

fn scope_settings(name: &str, project: Option<domain::ProjectId>, tenant: Option<domain::TenantId>) -> String {
    let text = |id: Option<String>| id.unwrap_or_default();
    format!(
        "SELECT set_config('app.scope', '{name}', TRUE), set_config('app.project_id', '{}', TRUE),
                set_config('app.tenant_id', '{}', TRUE)",
        text(project.map(|id| id.to_string())),
        text(tenant.map(|id| id.to_string()))
    )
}
