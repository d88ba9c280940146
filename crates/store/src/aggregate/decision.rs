//! What gateways decided: told in batches, read by request, forgotten after a while.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use domain::{Decision, FleetName, ProjectId, RequestId, TenantId, Timestamp};

use crate::{
    SessionTx, Store, StoreError, View,
    tx::Reader,
    value::{Row, Value, values},
};

/// Rows deleted in one transaction: it shares the database's only writer (SQLite) with everything else.
const SWEPT: u32 = 1000;

const SELECT: &str = "SELECT gateway, fleet, body, received FROM decisions";

/// A decision as it is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeptDecision {
    /// The gateway that told of it, by its certificate.
    pub gateway: String,
    /// Its fleet.
    pub fleet: String,
    /// When the control API heard of it.
    pub received: Timestamp,
    /// What was told.
    pub decision: Decision,
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DecisionsKept {
    /// Of each tenant, and of what belongs to none. More are there until the next sweep.
    pub each: u32,
    /// For how long.
    pub age: Duration,
}

fn read(row: &Row) -> Result<KeptDecision, StoreError> {
    Ok(KeptDecision {
        gateway: row.at("gateway")?,
        fleet: row.at("fleet")?,
        received: row.at("received")?,
        decision: row.json("body")?,
    })
}

/// Reads of decisions.
pub trait Decisions: Reader {
    /// The decision of a request, whosever it was.
    fn decision(&self, request: RequestId) -> impl Future<Output = Result<Option<KeptDecision>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE request_id = $1");
            self.view().await?.first(&sql, values![request], read).await
        }
    }

    /// The decision of a request that was this tenant's.
    fn decision_of_tenant(
        &self,
        tenant: TenantId,
        request: RequestId,
    ) -> impl Future<Output = Result<Option<KeptDecision>, StoreError>> + Send {
        async move {
            let sql = format!("{SELECT} WHERE request_id = $1 AND tenant_id = $2");
            self.view().await?.first(&sql, values![request, tenant], read).await
        }
    }
}
impl<R: Reader> Decisions for R {}

impl SessionTx {
    /// Keeps what a gateway tells of the hostnames of its fleet, or of any where it has none, and of hostnames that
    /// nobody has. Says how many these were; a request that was told of before is one of them.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keep_decisions(
        &self,
        (gateway, fleet): (&str, Option<&FleetName>),
        told: &[Decision],
    ) -> Result<usize, StoreError> {
        let view = &self.work.view;
        let places = Places::of(view, told).await?;
        let mut kept: Vec<&Decision> = told.iter().filter(|decision| places.allow(decision, fleet)).collect();
        let count = kept.len();
        padded(&mut kept);
        if kept.is_empty() {
            return Ok(0);
        }
        let (mut rows, mut all) = (Vec::with_capacity(kept.len()), Vec::with_capacity(7 * kept.len()));
        for decision in &kept {
            let at = all.len();
            let numbers: Vec<String> = (at + 1..=at + 7).map(|number| format!("${number}")).collect();
            rows.push(format!("({})", numbers.join(", ")));
            all.extend(values![decision.request_id, decision.project_id, decision.tenant_id, gateway]);
            all.extend([fleet.map(FleetName::as_str).unwrap_or_default().into(), Value::json(decision)?]);
            all.push(self.work.now.into());
        }
        let sql = format!(
            "INSERT INTO decisions (request_id, project_id, tenant_id, gateway, fleet, body, received) VALUES {}
             ON CONFLICT (request_id) DO NOTHING",
            rows.join(", ")
        );
        view.execute(&sql, all).await?;
        Ok(count)
    }
}

/// What the decisions of a batch are said to belong to, as it is.
struct Places {
    hostnames: HashMap<String, (ProjectId, Option<TenantId>, String)>,
    tenants: HashMap<TenantId, ProjectId>,
}

impl Places {
    async fn of(view: &View, told: &[Decision]) -> Result<Self, StoreError> {
        let hosts: HashSet<&str> = told.iter().filter_map(|decision| decision.host.as_deref()).collect();
        let tenants: HashSet<TenantId> = told.iter().filter_map(|decision| decision.tenant_id).collect();
        let hosts = hosts.into_iter().map(Value::from).collect();
        let tenants = tenants.into_iter().map(Value::from).collect();
        let sql = "SELECT hostname, project_id, tenant_id, fleet FROM hostnames WHERE hostname IN";
        let hostname = |row: &Row| {
            Ok((row.at("hostname")?, (row.at("project_id")?, row.at("tenant_id")?, row.at::<String>("fleet")?)))
        };
        let tenant = |row: &Row| Ok((row.at("id")?, row.at("project_id")?));
        Ok(Self {
            hostnames: among(view, sql, hosts, hostname).await?.into_iter().collect(),
            tenants: among(view, "SELECT id, project_id FROM tenants WHERE id IN", tenants, tenant)
                .await?
                .into_iter()
                .collect(),
        })
    }

    /// Whether a decision is one that a gateway of `fleet` may tell of.
    fn allow(&self, decision: &Decision, fleet: Option<&FleetName>) -> bool {
        let place = decision.host.as_deref().and_then(|host| self.hostnames.get(host));
        let own = |of: &str| fleet.is_none_or(|fleet| fleet.as_str() == of);
        let (Some(project), tenant) = (decision.project_id, decision.tenant_id) else {
            // Of nobody's project: of no tenant's either, and not of a hostname that others serve.
            return decision.tenant_id.is_none() && place.is_none_or(|(_, _, of)| own(of));
        };
        place.is_some_and(|(of_project, of_tenant, of)| {
            let same_tenant = match (of_tenant, tenant) {
                (Some(one), Some(other)) => *one == other,
                (None, Some(named)) => self.tenants.get(&named) == Some(&project),
                (None, None) => true,
                (Some(_), None) => false,
            };
            own(of) && *of_project == project && same_tenant
        })
    }
}

/// The rows of a statement that ends in `IN`, for these.
pub(super) async fn among<T>(
    view: &View,
    sql: &str,
    mut values: Vec<Value>,
    read: impl Fn(&Row) -> Result<T, StoreError> + Send,
) -> Result<Vec<T>, StoreError> {
    padded(&mut values);
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let numbers: Vec<String> = (1..=values.len()).map(|number| format!("${number}")).collect();
    view.all(&format!("{sql} ({})", numbers.join(", ")), values, read).await
}

/// Repeats the last item until there are a power of two: connections keep a prepared statement for each length.
fn padded<T: Clone>(items: &mut Vec<T>) {
    if let Some(last) = items.last().cloned() {
        items.resize(items.len().next_power_of_two(), last);
    }
}

impl Store {
    /// Forgets decisions that are too old, and those that are too many of one tenant that was told of since `since`. Says
    /// how many.
    ///
    /// # Errors
    /// Of the database. What was deleted until then stays deleted.
    pub async fn sweep_decisions(
        &self,
        now: Timestamp,
        since: Timestamp,
        kept: DecisionsKept,
    ) -> Result<u64, StoreError> {
        let mut swept = self.delete_decisions("received < $1", values![now - kept.age]).await?;
        let view = self.view().await?;
        let sql = "SELECT DISTINCT tenant_id FROM decisions WHERE received >= $1";
        let tenants: Vec<Option<TenantId>> = view.all(sql, values![since], |row| row.at("tenant_id")).await?;
        drop(view);
        for tenant in tenants {
            swept += self.delete_surplus(tenant, kept.each).await?;
        }
        Ok(swept)
    }

    /// Deletes all but the newest `each` decisions of a tenant.
    async fn delete_surplus(&self, tenant: Option<TenantId>, each: u32) -> Result<u64, StoreError> {
        let (of, own) = match tenant {
            Some(tenant) => ("tenant_id = $3", values![tenant]),
            None => ("tenant_id IS NULL", Vec::new()),
        };
        let sql = format!(
            "SELECT received, request_id FROM decisions WHERE {of}
             ORDER BY received DESC, request_id DESC LIMIT $1 OFFSET $2"
        );
        let asked = values![1_u32, each].into_iter().chain(own.clone()).collect();
        let newest = |row: &Row| Ok((row.at::<Timestamp>("received")?, row.at::<RequestId>("request_id")?));
        let Some((received, request)) = self.view().await?.first(&sql, asked, newest).await? else {
            return Ok(0);
        };
        let older = format!("{of} AND (received < $1 OR (received = $1 AND request_id <= $2))");
        self.delete_decisions(&older, values![received, request].into_iter().chain(own).collect()).await
    }

    /// Deletes what `condition` says, the oldest first, some at a time.
    async fn delete_decisions(&self, condition: &str, values: Vec<Value>) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let view = self.begin_state().await?;
            // In one order, so that of two replicas that sweep at once one waits for the other.
            let oldest = view.locking(&format!(
                "SELECT request_id FROM decisions WHERE {condition} ORDER BY received, request_id LIMIT {SWEPT}"
            ));
            let sql = format!("DELETE FROM decisions WHERE request_id IN ({oldest})");
            let batch = view.execute(&sql, values.clone()).await?;
            view.commit().await?;
            deleted += batch;
            if batch < u64::from(SWEPT) {
                return Ok(deleted);
            }
        }
    }
}
