//! Gateways: who is there, and how far each is.

use domain::{
    GatewayId, Seq, Timestamp,
    model::{GatewayNode, GatewayReport},
};

use crate::{
    SessionTx, StoreError,
    tx::Reader,
    value::{Row, values},
};

const SELECT: &str = "SELECT * FROM gateways";

fn read(row: &Row) -> Result<GatewayNode, StoreError> {
    Ok(GatewayNode {
        id: row.at("id")?,
        name: row.at("name")?,
        fleet: row.at("fleet")?,
        report: GatewayReport {
            revision: row.at("revision")?,
            applied: Seq(row.at("applied")?),
            reader: row.at("reader")?,
            lease_until: row.at("lease_until")?,
        },
        last_seen: row.at("last_seen")?,
    })
}

/// Reads of gateways.
pub trait Gateways: Reader {
    /// The gateway of this id.
    fn gateway(&self, id: GatewayId) -> impl Future<Output = Result<Option<GatewayNode>, StoreError>> + Send {
        async move { self.view().await?.first(&format!("{SELECT} WHERE id = $1"), values![id], read).await }
    }

    /// All gateways seen in the last day.
    fn gateways(&self) -> impl Future<Output = Result<Vec<GatewayNode>, StoreError>> + Send {
        async move { self.view().await?.all(&format!("{SELECT} ORDER BY fleet, name, id"), Vec::new(), read).await }
    }

    /// The gateways that may still be serving: their last lease has not run out.
    fn leased_gateways(&self, now: Timestamp) -> impl Future<Output = Result<Vec<GatewayNode>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE lease_until > $1 ORDER BY fleet, name, id");
            self.view().await?.all(&sql, values![now], read).await
        }
    }
}
impl<R: Reader> Gateways for R {}

impl SessionTx {
    /// Notes what a gateway says of itself.
    ///
    /// # Errors
    /// Of the database.
    pub async fn report_gateway(&self, node: &GatewayNode) -> Result<(), StoreError> {
        let report = &node.report;
        self.work
            .view
            .execute(
                "INSERT INTO gateways (id, name, fleet, revision, applied, reader, lease_until, last_seen)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name, fleet = excluded.fleet,
                     revision = excluded.revision, applied = excluded.applied, reader = excluded.reader,
                     lease_until = excluded.lease_until, last_seen = excluded.last_seen",
                values![
                    node.id,
                    &node.name,
                    &node.fleet,
                    report.revision,
                    report.applied.0,
                    report.reader,
                    report.lease_until,
                    node.last_seen,
                ],
            )
            .await?;
        Ok(())
    }
}
