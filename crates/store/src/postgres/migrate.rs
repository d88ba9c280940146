//! PostgreSQL's migrations: run by the connecting role, which owns the tables. Forward only, but on a developer's machine.

use std::{error::Error, time::Duration};

use refinery::Target;
use tokio_postgres::{Client, error::SqlState};

use super::convert;
use crate::{StoreError, undo};

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// How often a migration is tried that gets in another replica's way.
const ATTEMPTS: u32 = 40;

/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// Replicas may start at once. Each migration is one transaction that also says that it was done, so of those that try
/// one at the same time one succeeds; the others begin again with what is left.
pub(super) async fn forward(client: &mut Client) -> Result<(), StoreError> {
    forward_to(client, Target::Latest).await
}

async fn forward_to(client: &mut Client, target: Target) -> Result<(), StoreError> {
    let mut attempt = 1;
    loop {
        match embedded::migrations::runner().set_target(target).run_async(client).await {
            Ok(_) => return Ok(()),
            Err(error) if attempt < ATTEMPTS && collided(&error) => {
                tracing::info!(attempt, "another replica migrates the database");
                tokio::time::sleep(PAUSE).await;
                attempt += 1;
            }
            Err(error) => return Err(StoreError::Migration(error.into())),
        }
    }
}

/// Whether a migration failed for what another replica did meanwhile: made the same things, or has them locked.
fn collided(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code) {
            return COLLISIONS.contains(code);
        }
        cause = error.source();
    }
    false
}

/// `INTERNAL_ERROR` is how PostgreSQL says "tuple concurrently updated".
const COLLISIONS: [SqlState; 10] = [
    SqlState::UNIQUE_VIOLATION,
    SqlState::DUPLICATE_TABLE,
    SqlState::DUPLICATE_COLUMN,
    SqlState::DUPLICATE_OBJECT,
    SqlState::UNDEFINED_OBJECT,
    SqlState::DUPLICATE_FUNCTION,
    SqlState::DUPLICATE_SCHEMA,
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::INTERNAL_ERROR,
];

/// All in one transaction. The role of runtime transactions stays: it is the whole server's.
pub(super) async fn down(client: &mut Client) -> Result<(), StoreError> {
    let tables: Vec<_> = undo::tables(embedded::migrations::runner().get_migrations()).into_iter().collect();
    let sql = format!("DROP TABLE IF EXISTS {} CASCADE", tables.join(", "));
    client.batch_execute(&sql).await.map_err(convert::error)
}

pub(super) async fn version(client: &Client) -> Result<u32, StoreError> {
    let migrated = client
        .query_one("SELECT to_regclass('refinery_schema_history') IS NOT NULL", &[])
        .await
        .and_then(|row| row.try_get::<_, bool>(0))
        .map_err(convert::error)?;
    if !migrated {
        return Ok(0);
    }
    let version = client
        .query_one("SELECT COALESCE(MAX(version), 0)::bigint FROM refinery_schema_history", &[])
        .await
        .and_then(|row| row.try_get::<_, i64>(0))
        .map_err(convert::error)?;
    u32::try_from(version).map_err(|e| StoreError::corrupt("version", e))
}

pub(super) fn known_version() -> u32 {
    let runner = embedded::migrations::runner();
    runner.get_migrations().iter().filter_map(|m| u32::try_from(m.version()).ok()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;
    use tokio_postgres::{Config, NoTls};
    use uuid::Uuid;

    use super::*;

    async fn connect(config: &Config) -> Client {
        let (client, connection) = config.connect(NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// What a release before V17 left, and V3 did not list.
    const LEFT: &str = "BEGIN;
        SELECT set_config('app.scope', 'platform', TRUE);
        INSERT INTO projects (id, slug, name, kind, status, issuer, audiences, config, created_at, updated_at, version)
            VALUES ('00000000-0000-0000-0000-000000000001', 'acme', 'Acme', 'dedicated', 'active', 'https://acme.example',
                '[]', '{}', 0, 0, 1);
        INSERT INTO hostnames (id, hostname, project_id, purpose, kind, is_primary, verify_state, verified_at, tls_mode,
                created_at, updated_at, version)
            VALUES ('00000000-0000-0000-0000-000000000002', 'shop.acme.example', '00000000-0000-0000-0000-000000000001',
                'app', 'custom', FALSE, 'verified', 0, 'manual', 0, 0, 1),
                ('00000000-0000-0000-0000-000000000003', 'acme.example.com', '00000000-0000-0000-0000-000000000001',
                'app', 'platform', FALSE, 'verified', 0, 'manual', 0, 0, 1);
        INSERT INTO issuers (id, project_id, issuer, audiences, algorithms, binding, jwks, jwks_url, created_at)
            VALUES ('00000000-0000-0000-0000-000000000004', '00000000-0000-0000-0000-000000000001',
                'https://id.acme.example', '[]', '[]', '{}', '{}', 'https://id.acme.example/jwks', 0);
        COMMIT";

    #[tokio::test]
    async fn what_policies_hid_from_earlier_migrations_is_seen_where_they_bind_the_owner() {
        let server =
            std::env::var("DATABASE_URL").expect("DATABASE_URL is not set: run `make test`, which starts PostgreSQL");
        let server: Config = server.parse().unwrap();
        let name = format!("portcullis_owner_{}", Uuid::new_v4().simple());
        let admin = connect(&server).await;
        admin
            .batch_execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'owner' NOSUPERUSER NOBYPASSRLS"))
            .await
            .unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name} OWNER {name}")).await.unwrap();
        let mut own = server.clone();
        own.user(&name).password("owner").dbname(&name);
        let outcome = AssertUnwindSafe(async {
            let mut client = connect(&own).await;
            forward_to(&mut client, Target::Version(16)).await.unwrap();
            client.batch_execute(LEFT).await.unwrap();
            forward_to(&mut client, Target::Version(31)).await.unwrap();
            let seen = async |client: &Client, sql: &str| -> String {
                client.batch_execute("BEGIN; SELECT set_config('app.scope', 'platform', TRUE)").await.unwrap();
                let found: Option<String> = client.query_one(sql, &[]).await.unwrap().get(0);
                client.batch_execute("COMMIT").await.unwrap();
                found.unwrap_or_default()
            };
            let proofs =
                "SELECT string_agg(id::text || ' ' || length(challenge) || ' ' || epoch, ',') FROM hostname_proofs";
            let fetches = "SELECT string_agg(issuer_id::text, ',') FROM issuer_fetches";
            for hidden in [proofs, fetches] {
                assert_eq!(seen(&client, hidden).await, "", "policies bind the owner here, or this shows nothing");
            }
            for _ in 0..2 {
                forward(&mut client).await.unwrap();
                assert_eq!(seen(&client, proofs).await, "00000000-0000-0000-0000-000000000002 82 0");
                assert_eq!(seen(&client, fetches).await, "00000000-0000-0000-0000-000000000004");
            }
        })
        .catch_unwind()
        .await;
        admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
        admin.batch_execute(&format!("DROP ROLE {name}")).await.unwrap();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }
}
