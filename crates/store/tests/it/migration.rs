//! Schemas of other releases.

use futures::future::join_all;
use store::StoreError;

use crate::{
    harness::{Database, NOW, sealer},
    units,
    world::{ACME, world},
};

pub(crate) async fn migrating_twice_changes_nothing(db: Database) {
    let store = world(&db).await;
    let version = store.schema_version().await.unwrap();
    let (one, two) = tokio::join!(store.migrate(), store.migrate());
    one.and(two).unwrap();
    store.check_schema().await.unwrap();
    assert_eq!(store.schema_version().await.unwrap(), version);
    assert_eq!(db.number("SELECT COUNT(*) FROM tenants").await, 3);
}

/// On a developer's machine: what is there again is what was there before, and nothing else.
pub(crate) async fn up_down_and_up_again_is_as_up(db: Database) {
    let schema = if db.postgres().await.is_some() {
        "SELECT string_agg(it, E'\n' ORDER BY it) FROM (
             SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || COALESCE(collation_name, '') AS it
             FROM information_schema.columns WHERE table_schema = current_schema()
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()
             UNION ALL SELECT policyname || ' ' || qual FROM pg_policies WHERE schemaname = current_schema()) AS of"
    } else {
        "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name)"
    };
    let (up, version) = (db.text(schema).await, db.store.schema_version().await.unwrap());
    let store = world(&db).await;
    store.migrate_down().await.unwrap();
    assert_eq!(store.schema_version().await.unwrap(), 0);
    let left = if db.postgres().await.is_some() {
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema()"
    } else {
        "SELECT COUNT(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
    };
    assert_eq!(db.number(left).await, 0, "a migration made what is not taken away");
    store.migrate_down().await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!((db.text(schema).await, store.schema_version().await.unwrap()), (up, version));
    assert_eq!(db.number("SELECT COUNT(*) FROM tenants").await, 0);
}

/// Each replica opens the database for itself, as processes do; a SQLite file is one process's.
pub(crate) async fn replicas_that_migrate_an_empty_database_at_once_all_find_it_migrated(db: Database) {
    let all = db.number("SELECT COUNT(*) FROM refinery_schema_history").await;
    let empty = db.emptied().await;
    let alone = db.postgres().await.is_none().then(|| empty.reopened(sealer()));
    let replica = || alone.clone().unwrap_or_else(|| empty.reopened(sealer()));
    let replicas: Vec<_> = std::iter::repeat_with(replica).take(4).collect();
    for migrated in join_all(replicas.iter().map(store::Store::migrate)).await {
        migrated.unwrap();
    }
    replicas[0].check_schema().await.unwrap();
    assert_eq!(empty.number("SELECT COUNT(*) FROM refinery_schema_history").await, all);
}

/// As a database of a development version is, whose migrations were put in order since.
pub(crate) async fn a_schema_without_a_migration_in_the_middle_is_refused(db: Database) {
    db.behind("DELETE FROM refinery_schema_history WHERE version = 20").await;
    let refused = db.store.migrate().await;
    assert!(matches!(refused, Err(StoreError::Migration(_))), "{refused:?}");
}

pub(crate) async fn a_newer_schema_is_refused(db: Database) {
    let this = db.store.schema_version().await.unwrap();
    db.behind(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
         VALUES (99, 'future', '2030-01-01T00:00:00Z', '1')",
    )
    .await;
    for refused in [db.store.check_schema().await, db.store.migrate().await] {
        assert!(matches!(refused, Err(StoreError::SchemaNewer { found: 99, known }) if known == this), "{refused:?}");
    }
    db.behind("DROP TABLE refinery_schema_history").await;
    let older = db.store.check_schema().await;
    assert!(matches!(older, Err(StoreError::SchemaOlder { found: 0, known }) if known == this), "{older:?}");
}

/// Tenants, and one that is gone since it was listed.
pub(crate) async fn of_those_who_tell_anew_what_a_migration_listed_each_entry_has_one(db: Database) {
    let store = world(&db).await;
    let sales = units::made(&store, "sales").await;
    assert_eq!(units::told(&store).await, [sales]);
    db.behind(&format!(
        "INSERT INTO republish (kind, entity_id) VALUES ('tenant', '{ACME}'), ('tenant', '{}'), ('service', '{}')",
        uuid::Uuid::new_v4(),
        uuid::Uuid::new_v4(),
    ))
    .await;
    let replicas: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn({
                let store = store.clone();
                async move { store.republish(NOW).await.unwrap() }
            })
        })
        .collect();
    let told: usize = join_all(replicas).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(told, 3);
    assert_eq!(units::told(&store).await, [sales], "as it is now");
    assert_eq!(store.republish(NOW).await.unwrap(), 0);
    assert!(store.tick(NOW).await.unwrap().changes.is_empty());
}
