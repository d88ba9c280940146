//! Gateways: who is there, and how far each is.

use domain::{
    GatewayId, History, Seq, Timestamp,
    model::{Enrolment, GatewayNode, GatewayReport},
};

use super::{
    enrolment,
    list::{Filter, Listing, Sortable, Takes, sealed::Cells},
};
use crate::{
    SessionTx, StoreError,
    tx::Reader,
    value::{Row, Value, values},
};

const SELECT: &str = "SELECT * FROM gateways";

/// A lease that was given cannot be taken back, so what is noted of it never moves to an earlier time, in whatever order
/// notes arrive.
fn insert((revision, applied): (&str, &str)) -> String {
    format!(
        "INSERT INTO gateways (id, name, fleet, revision, applied, reader, lease_until, last_seen)
         VALUES ($1, $2, $3, {revision}, {applied}, $6, $7, $8)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, fleet = excluded.fleet, last_seen = excluded.last_seen,
             lease_until = CASE WHEN gateways.lease_until > excluded.lease_until
                 THEN gateways.lease_until ELSE excluded.lease_until END"
    )
}

fn read(row: &Row) -> Result<GatewayNode, StoreError> {
    node(row, ("name", "fleet"))
}

fn node(row: &Row, (name, fleet): (&str, &str)) -> Result<GatewayNode, StoreError> {
    Ok(GatewayNode {
        id: row.at("id")?,
        name: row.at(name)?,
        fleet: row.at(fleet)?,
        report: GatewayReport {
            revision: row.at("revision")?,
            applied: Seq(row.at("applied")?),
            reader: row.at("reader")?,
            lease_until: row.at("lease_until")?,
        },
        last_seen: row.at("last_seen")?,
    })
}

/// A gateway: its enrolment, where it needs one, and what it said of itself, if it did in the last day.
#[derive(Clone, Debug)]
pub struct KnownGateway {
    /// Its enrolment; none for one on the control API's own machine that needs none.
    pub enrolment: Option<Enrolment>,
    /// What it said last.
    pub node: Option<GatewayNode>,
}

/// The list of gateways at a moment: those that said something in the last day, and those whose enrolment holds or ended
/// after another moment.
#[derive(Debug)]
pub enum GatewayList {}

impl Listing for GatewayList {
    type Item = KnownGateway;
    type Of = (Timestamp, Timestamp);
    const FILTERS: &'static [Filter] = &[
        Filter::search("Whose name holds this, in any case.", "LOWER(name) LIKE ? ESCAPE '!'"),
        Filter::new("fleet", "Of this fleet.", Takes::Text, "fleet = ?"),
        Filter::new(
            "state",
            "Whose enrolment stands so.",
            Takes::Word(&["pending", "enrolled", "expired", "revoked"]),
            "state = ?",
        ),
    ];
    const SORTS: &'static [Sortable] = &[Sortable::new("name", "name"), Sortable::new("fleet", "fleet")];
    fn sql() -> String {
        "SELECT * FROM (
             SELECT COALESCE(it.id, node.id) AS id, COALESCE(it.name, node.name) AS name,
                 COALESCE(it.fleet, node.fleet) AS fleet, it.id AS enrolment_id, it.token_expires_at, it.joined_at,
                 it.certificate_expires_at, it.created_at, it.revoked_at, node.id AS node_id, node.name AS node_name,
                 node.fleet AS node_fleet, node.revision, node.applied, node.reader, node.lease_until, node.last_seen,
                 CASE WHEN it.id IS NULL THEN ''
                      WHEN it.revoked_at IS NOT NULL THEN 'revoked'
                      WHEN COALESCE(it.certificate_expires_at, it.token_expires_at) <= $1 THEN 'expired'
                      WHEN it.certificate_expires_at IS NULL THEN 'pending'
                      ELSE 'enrolled' END AS state
             FROM enrolments AS it FULL JOIN gateways AS node ON node.id = it.id
             WHERE node.id IS NOT NULL
                 OR COALESCE(it.revoked_at, it.certificate_expires_at, it.token_expires_at) > $2
         ) AS known WHERE TRUE"
            .into()
    }
    fn item(row: &Cells<'_>) -> Result<KnownGateway, StoreError> {
        let row = row.0;
        let is_there = |column| row.at::<Option<GatewayId>>(column).map(|id| id.is_some());
        Ok(KnownGateway {
            enrolment: is_there("enrolment_id")?.then(|| enrolment::read(row)).transpose()?,
            node: is_there("node_id")?.then(|| node(row, ("node_name", "node_fleet"))).transpose()?,
        })
    }
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
}
impl<R: Reader> Gateways for R {}

impl SessionTx {
    /// Notes that a gateway may hold a lease until `node.report.lease_until`. What it reported of itself before stays;
    /// of a gateway that is not known yet, the rest of `node.report` is taken.
    ///
    /// # Errors
    /// [`StoreError::Rule`] `gateway_revoked`.
    pub async fn lease_gateway(&self, node: &GatewayNode) -> Result<(), StoreError> {
        enrolment::not_revoked(&self.work.view, node.id).await?;
        self.work.view.execute(&insert(("$4", "$5")), row(node)).await?;
        Ok(())
    }

    /// Notes what a gateway says of itself. What it has applied counts only where `history` is this database's.
    ///
    /// # Errors
    /// As [`SessionTx::lease_gateway`].
    pub async fn report_gateway(&self, node: &GatewayNode, history: History) -> Result<(), StoreError> {
        enrolment::not_revoked(&self.work.view, node.id).await?;
        let of_ours = |number| format!("{number} * (SELECT COUNT(*) FROM log_head WHERE id = 1 AND history = $9)");
        let sql = format!(
            "{}, revision = excluded.revision, applied = excluded.applied, reader = excluded.reader",
            insert((&of_ours("$4"), &of_ours("$5")))
        );
        let mut values = row(node);
        values.push(history.0.into());
        self.work.view.execute(&sql, values).await?;
        Ok(())
    }
}

fn row(node: &GatewayNode) -> Vec<Value> {
    let report = &node.report;
    values![
        node.id,
        &node.name,
        &node.fleet,
        report.revision,
        report.applied.0,
        report.reader,
        report.lease_until,
        node.last_seen,
    ]
}
