//! What was asked of organisational units at the edge: request by request for a while, and how much by day.
//!
//! Gateways tell; what they say belongs to whom is looked up. Of each gateway's counts the highest is kept, so that telling
//! again, late or by many at once changes nothing.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use domain::{
    FleetName, OrgUnitId, ProjectId, RequestId, TenantId, Timestamp, UserId,
    access::{AccessRecord, AccessReport, UnitUsage},
    quota::Span,
};

use super::{decision::among, page::MAX_LIMIT};
use crate::{
    SessionTx, Store, StoreError, View,
    tx::Reader,
    value::{Row, Value, values},
};

/// Rows deleted in one transaction: it shares the database's only writer (SQLite) with everything else.
const SWEPT: u32 = 1000;

/// A request that was about an organisational unit, as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptAccess {
    /// The request.
    pub request_id: RequestId,
    /// When it was over.
    pub at: Timestamp,
    /// The tenant.
    pub tenant_id: TenantId,
    /// The unit.
    pub ou_id: OrgUnitId,
    /// Who asked.
    pub subject: String,
    /// The user, where it was one of ours.
    pub user_id: Option<UserId>,
    /// From which address.
    pub ip: String,
    /// Method.
    pub method: String,
    /// Path.
    pub path: String,
    /// Status of the response.
    pub status: u32,
    /// With which program.
    pub user_agent: Option<String>,
    /// How long it took, in microseconds.
    pub latency_us: u64,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccessKept {
    /// Of each tenant. More are there until the next sweep.
    pub each: u32,
    /// For how long.
    pub age: Duration,
}

/// Which requests, newest first.
#[derive(Clone, Copy, Debug)]
pub struct AccessQuery {
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Only what comes after this place, which the page before ended at.
    pub before: Option<(Timestamp, RequestId)>,
    /// At most this many, up to 500.
    pub limit: u32,
}

fn read(row: &Row) -> Result<KeptAccess, StoreError> {
    Ok(KeptAccess {
        request_id: row.at("request_id")?,
        at: row.at("at")?,
        tenant_id: row.at("tenant_id")?,
        ou_id: row.at("ou_id")?,
        subject: row.at("subject")?,
        user_id: row.at("user_id")?,
        ip: row.at("ip")?,
        method: row.at("method")?,
        path: row.at("path")?,
        status: row.at("status")?,
        user_agent: row.at("user_agent")?,
        latency_us: row.at("latency_us")?,
    })
}

/// Reads of what was asked of units.
pub trait Accesses: Reader {
    /// What was asked of a unit, newest first.
    fn access_log(
        &self,
        (tenant, unit): (TenantId, OrgUnitId),
        query: &AccessQuery,
    ) -> impl Future<Output = Result<Vec<KeptAccess>, StoreError>> + Send {
        async move {
            let mut all = values![tenant, unit];
            let mut sql = String::from("SELECT * FROM access_log WHERE tenant_id = $1 AND ou_id = $2");
            if let Some(from) = query.from {
                all.push(from.into());
                sql.push_str(&format!(" AND at >= ${}", all.len()));
            }
            if let Some(to) = query.to {
                all.push(to.into());
                sql.push_str(&format!(" AND at < ${}", all.len()));
            }
            if let Some((at, request)) = query.before {
                all.extend(values![at, request]);
                let (at, request) = (all.len() - 1, all.len());
                sql.push_str(&format!(" AND (at < ${at} OR (at = ${at} AND request_id < ${request}))"));
            }
            all.push(query.limit.clamp(1, MAX_LIMIT).into());
            sql.push_str(&format!(" ORDER BY at DESC, request_id DESC LIMIT ${}", all.len()));
            self.view().await?.all(&sql, all, read).await
        }
    }

    /// How much each of a tenant's units asked for from a day on and before another, the units by id after `after`.
    fn unit_usage(
        &self,
        tenant: TenantId,
        (from, to): (Span, Span),
        (after, limit): (OrgUnitId, u32),
    ) -> impl Future<Output = Result<Vec<(OrgUnitId, UnitUsage)>, StoreError>> + Send {
        async move {
            // The sum of BIGINTs is NUMERIC on PostgreSQL.
            let sql = "SELECT ou_id, CAST(SUM(requests) AS BIGINT) AS requests,
                           CAST(SUM(bytes_received) AS BIGINT) AS bytes_received,
                           CAST(SUM(bytes_sent) AS BIGINT) AS bytes_sent
                       FROM unit_usage
                       WHERE tenant_id = $1 AND day >= $2 AND day < $3 AND ou_id > $4
                       GROUP BY ou_id ORDER BY ou_id LIMIT $5";
            let all = values![tenant, from.to_string(), to.to_string(), after, limit.clamp(1, MAX_LIMIT)];
            let used = |row: &Row| {
                let usage = UnitUsage {
                    requests: row.at("requests")?,
                    bytes_received: row.at("bytes_received")?,
                    bytes_sent: row.at("bytes_sent")?,
                };
                Ok((row.at("ou_id")?, usage))
            };
            self.view().await?.all(sql, all, used).await
        }
    }
}
impl<R: Reader> Accesses for R {}

impl SessionTx {
    /// Keeps what a gateway tells of units that are there, of tenants that its fleet serves, or of any where it has none.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keep_access(&self, fleet: Option<&FleetName>, told: &AccessReport) -> Result<(), StoreError> {
        let view = &self.work.view;
        let places = Places::of(view, fleet, told).await?;
        for record in &told.records {
            if let Some(project) = places.project((record.tenant_id, record.ou_id)) {
                self.keep_record(project, record).await?;
            }
        }
        for count in &told.counts {
            let Some(project) = places.project((count.tenant_id, count.ou_id)) else { continue };
            let UnitUsage { requests, bytes_received, bytes_sent } = count.usage;
            let sql = "INSERT INTO unit_usage (project_id, tenant_id, ou_id, day, counter, requests, bytes_received,
                           bytes_sent, ends_at)
                       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                       ON CONFLICT (tenant_id, ou_id, day, counter) DO UPDATE
                           SET requests = excluded.requests, bytes_received = excluded.bytes_received,
                               bytes_sent = excluded.bytes_sent
                           WHERE unit_usage.requests < excluded.requests";
            let mut all = values![project, count.tenant_id, count.ou_id, count.span().to_string(), told.counter];
            all.extend(values![requests, bytes_received, bytes_sent, count.span().ends_at()]);
            view.execute(sql, all).await?;
        }
        Ok(())
    }

    async fn keep_record(&self, project: ProjectId, record: &AccessRecord) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO access_log (request_id, project_id, tenant_id, ou_id, at, subject, user_id, ip, method, path,
                       status, user_agent, latency_us)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
                   ON CONFLICT (request_id) DO NOTHING";
        // Nobody has asked tomorrow.
        let at = record.at.min(self.work.now);
        let mut all = values![record.request_id, project, record.tenant_id, record.ou_id, at];
        all.extend(values![&*record.subject, record.user(), record.ip.to_string(), &*record.method, &*record.path]);
        all.extend(values![u32::from(record.status), record.user_agent.as_deref(), record.latency_us]);
        self.work.view.execute(sql, all).await.map(|_| ())
    }
}

/// What a report says belongs to whom, as it is.
struct Places(HashMap<(TenantId, OrgUnitId), ProjectId>);

impl Places {
    async fn of(view: &View, fleet: Option<&FleetName>, told: &AccessReport) -> Result<Self, StoreError> {
        let named = told.records.iter().map(|it| (it.tenant_id, it.ou_id));
        let named: HashSet<_> = named.chain(told.counts.iter().map(|it| (it.tenant_id, it.ou_id))).collect();
        let units = named.iter().map(|(_, unit)| Value::from(*unit)).collect();
        let unit = |row: &Row| {
            Ok((row.at::<TenantId>("tenant_id")?, row.at::<OrgUnitId>("id")?, row.at::<ProjectId>("project_id")?))
        };
        let found = among(view, "SELECT id, tenant_id, project_id FROM org_units WHERE id IN", units, unit).await?;
        let mut places: HashMap<_, _> = found
            .into_iter()
            .map(|(tenant, unit, project)| ((tenant, unit), project))
            .filter(|(place, _)| named.contains(place))
            .collect();
        if let Some(fleet) = fleet {
            let served = served(view, fleet, &places).await?;
            places.retain(|(tenant, _), project| {
                served.contains(&(Some(*tenant), *project)) || served.contains(&(None, *project))
            });
        }
        Ok(Self(places))
    }

    fn project(&self, place: (TenantId, OrgUnitId)) -> Option<ProjectId> {
        self.0.get(&place).copied()
    }
}

/// Tenants and whole projects, of those named, that a fleet serves a hostname of.
async fn served(
    view: &View,
    fleet: &FleetName,
    places: &HashMap<(TenantId, OrgUnitId), ProjectId>,
) -> Result<HashSet<(Option<TenantId>, ProjectId)>, StoreError> {
    let projects: HashSet<ProjectId> = places.values().copied().collect();
    let projects = projects.into_iter().map(Value::from).collect();
    let sql = "SELECT tenant_id, project_id, fleet FROM hostnames WHERE project_id IN";
    let hostname =
        |row: &Row| Ok((row.at::<Option<TenantId>>("tenant_id")?, row.at("project_id")?, row.at::<String>("fleet")?));
    let hostnames = among(view, sql, projects, hostname).await?;
    let own = hostnames.into_iter().filter(|(_, _, of)| of == fleet.as_str());
    Ok(own.map(|(tenant, project, _)| (tenant, project)).collect())
}

impl Store {
    /// Forgets requests that are too old, and those that are too many of a tenant. Says how many.
    ///
    /// # Errors
    /// Of the database. What was deleted until then stays deleted.
    pub async fn sweep_access_log(&self, now: Timestamp, kept: AccessKept) -> Result<u64, StoreError> {
        let mut swept = self.delete_accesses("at < $1", values![now - kept.age]).await?;
        let sql = "SELECT tenant_id FROM access_log GROUP BY tenant_id HAVING COUNT(*) > $1";
        let view = self.view().await?;
        let crowded: Vec<TenantId> = view.all(sql, values![kept.each], |row| row.at("tenant_id")).await?;
        drop(view);
        for tenant in crowded {
            let sql = "SELECT at FROM access_log WHERE tenant_id = $1 ORDER BY at DESC LIMIT 1 OFFSET $2";
            let newest = |row: &Row| row.at::<Timestamp>("at");
            if let Some(at) = self.view().await?.first(sql, values![tenant, kept.each], newest).await? {
                swept += self.delete_accesses("tenant_id = $1 AND at <= $2", values![tenant, at]).await?;
            }
        }
        Ok(swept)
    }

    /// Forgets what was asked of a unit.
    ///
    /// # Errors
    /// Of the database. What was deleted until then stays deleted.
    pub async fn clear_access_log(&self, tenant: TenantId, unit: OrgUnitId) -> Result<u64, StoreError> {
        self.delete_accesses("tenant_id = $1 AND ou_id = $2", values![tenant, unit]).await
    }

    /// Deletes what `condition` says, the oldest first, some at a time.
    async fn delete_accesses(&self, condition: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let view = self.begin_state().await?;
            // In one order, so that of two replicas that delete at once one waits for the other.
            let oldest = view.locking(&format!(
                "SELECT request_id FROM access_log WHERE {condition} ORDER BY at, request_id LIMIT {SWEPT}"
            ));
            let sql = format!("DELETE FROM access_log WHERE request_id IN ({oldest})");
            let batch = view.execute(&sql, values.clone()).await?;
            view.commit().await?;
            deleted += batch;
            if batch < u64::from(SWEPT) {
                return Ok(deleted);
            }
        }
    }
}
