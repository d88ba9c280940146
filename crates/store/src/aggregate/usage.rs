//! What tenants used of products.
//!
//! Each gateway counts for itself, under an id that it has from its start to its end, and tells how far it is. Of each
//! the highest is kept: what is told twice, late or by many at once changes nothing. What was used is their sum.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::{
    FleetName, ProductId, ProjectId, TenantId,
    model::ProductKey,
    quota::{Span, UsageCount, UsagePart},
};
use uuid::Uuid;

use super::decision::among;
use crate::{
    SessionTx, StoreError, View,
    tx::Reader,
    value::{Row, Value, values},
};

/// Reads of what was used.
pub trait Usages: Reader {
    /// What a tenant used in these spans, by product and span; nothing where nothing was told.
    fn usage(
        &self,
        tenant: TenantId,
        spans: &[Span],
    ) -> impl Future<Output = Result<HashMap<(ProductKey, Span), u64>, StoreError>> + Send {
        async move {
            let view = self.view().await?;
            let mut used = HashMap::new();
            for span in spans {
                // The sum of BIGINTs is NUMERIC on PostgreSQL.
                let sql =
                    "SELECT products.key AS product, CAST(SUM(product_usage.used) AS BIGINT) AS used FROM product_usage
                           JOIN products ON products.id = product_usage.product_id
                           WHERE product_usage.tenant_id = $1 AND product_usage.span = $2 GROUP BY products.key";
                let rows = view
                    .all(sql, values![tenant, span.to_string()], |row| {
                        Ok((row.parsed::<ProductKey>("product")?, row.at::<u64>("used")?))
                    })
                    .await?;
                used.extend(rows.into_iter().map(|(product, count)| ((product, *span), count)));
            }
            Ok(used)
        }
    }
}
impl<R: Reader> Usages for R {}

impl SessionTx {
    /// Notes how far a counter is, and answers for each count what there is of it in all. Tenants and products that are
    /// not there have nothing, nor has a tenant that the gateway's `fleet` serves no hostname for.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keep_usage(
        &self,
        (counter, fleet): (Uuid, Option<&FleetName>),
        told: &[UsageCount],
    ) -> Result<Vec<Vec<UsagePart>>, StoreError> {
        let view = &self.work.view;
        let places = Places::of(view, fleet, told).await?;
        let named: Vec<_> = told.iter().map(|count| places.of_count(count)).collect();
        // Of two of one name the higher: a statement may touch a row once.
        let mut highest = BTreeMap::new();
        for (name, count) in named.iter().zip(told).filter_map(|(name, count)| Some(((*name)?, count))) {
            let used: &mut u64 = highest.entry(name).or_default();
            *used = count.used.max(*used);
        }
        let grown: Vec<_> = highest.iter().filter(|(_, used)| **used > 0).map(|(name, used)| (*name, *used)).collect();
        self.keep_rows(counter, &places, &grown).await?;
        let kept = kept(view, highest.keys()).await?;
        Ok(named.iter().map(|name| name.and_then(|name| kept.get(&name).cloned()).unwrap_or_default()).collect())
    }

    /// In statements of a power of two of rows: connections keep a prepared one for each length.
    async fn keep_rows(&self, counter: Uuid, places: &Places, rows: &[(Name, u64)]) -> Result<(), StoreError> {
        let mut rest = rows;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 << rest.len().ilog2());
            rest = later;
            let (mut lines, mut all) = (Vec::with_capacity(now.len()), Vec::with_capacity(8 * now.len()));
            for ((tenant, product, span), used) in now {
                let numbers: Vec<String> = (all.len() + 1..=all.len() + 8).map(|number| format!("${number}")).collect();
                lines.push(format!("({})", numbers.join(", ")));
                let project = places.tenants.get(tenant).copied();
                all.extend(values![project, *tenant, *product, span.to_string(), counter, *used]);
                all.extend(values![span.ends_at(), self.work.now]);
            }
            let sql = format!(
                "INSERT INTO product_usage (project_id, tenant_id, product_id, span, counter, used, ends_at, updated_at)
                 VALUES {}
                 ON CONFLICT (tenant_id, product_id, span, counter) DO UPDATE
                     SET used = excluded.used, updated_at = excluded.updated_at
                     WHERE product_usage.used < excluded.used",
                lines.join(", ")
            );
            self.work.view.execute(&sql, all).await?;
        }
        Ok(())
    }
}

/// What a count is of.
type Name = (TenantId, ProductId, Span);

/// All parts of these.
async fn kept(view: &View, names: impl Iterator<Item = &Name>) -> Result<HashMap<Name, Vec<UsagePart>>, StoreError> {
    let wanted: HashSet<Name> = names.copied().collect();
    let tenants: HashSet<TenantId> = wanted.iter().map(|(tenant, _, _)| *tenant).collect();
    // Yesterday's are asked for a moment after midnight; no others are, so that this reads little in vain.
    let oldest = wanted.iter().map(|(_, _, span)| span.ends_at().millis()).min().unwrap_or_default();
    let sql = format!(
        "SELECT tenant_id, product_id, span, counter, used FROM product_usage WHERE ends_at >= {oldest} AND tenant_id IN"
    );
    let part = |row: &Row| {
        let name = (row.at("tenant_id")?, row.at("product_id")?, row.parsed("span")?);
        Ok((name, UsagePart { counter: row.at("counter")?, used: row.at("used")? }))
    };
    let rows: Vec<(Name, UsagePart)> = among(view, &sql, tenants.into_iter().map(Value::from).collect(), part).await?;
    let mut kept: HashMap<Name, Vec<UsagePart>> = HashMap::new();
    for (name, part) in rows.into_iter().filter(|(name, _)| wanted.contains(name)) {
        kept.entry(name).or_default().push(part);
    }
    kept.values_mut().for_each(|parts| parts.sort_by_key(|part| part.counter));
    Ok(kept)
}

/// Where the counts of a batch belong.
struct Places {
    /// Tenants that the gateway may tell of.
    tenants: HashMap<TenantId, ProjectId>,
    products: HashMap<ProductKey, ProductId>,
}

impl Places {
    async fn of(view: &View, fleet: Option<&FleetName>, told: &[UsageCount]) -> Result<Self, StoreError> {
        let tenants: HashSet<TenantId> = told.iter().map(|count| count.tenant_id).collect();
        let tenants = tenants.into_iter().map(Value::from).collect::<Vec<_>>();
        let tenant = |row: &Row| Ok((row.at("id")?, row.at("project_id")?));
        let found = among(view, "SELECT id, project_id FROM tenants WHERE id IN", tenants.clone(), tenant).await?;
        let mut found: HashMap<TenantId, ProjectId> = found.into_iter().collect();
        if let Some(fleet) = fleet {
            let served =
                |row: &Row| Ok((row.at::<Option<TenantId>>("tenant_id")?, row.at("project_id")?, row.at("fleet")?));
            let projects: HashSet<ProjectId> = found.values().copied().collect();
            let projects = projects.into_iter().map(Value::from).collect();
            let of_tenants = "SELECT tenant_id, project_id, fleet FROM hostnames WHERE tenant_id IN";
            let of_projects =
                "SELECT tenant_id, project_id, fleet FROM hostnames WHERE tenant_id IS NULL AND project_id IN";
            let mut hostnames: Vec<(Option<TenantId>, ProjectId, String)> =
                among(view, of_tenants, tenants, served).await?;
            hostnames.extend(among(view, of_projects, projects, served).await?);
            let own: HashSet<(Option<TenantId>, ProjectId)> = hostnames
                .into_iter()
                .filter(|(_, _, of)| of == fleet.as_str())
                .map(|(tenant, project, _)| (tenant, project))
                .collect();
            found.retain(|tenant, project| own.contains(&(Some(*tenant), *project)) || own.contains(&(None, *project)));
        }
        let keys: HashSet<&str> = told.iter().map(|count| count.product.as_str()).collect();
        let product = |row: &Row| Ok((row.parsed("key")?, row.at("id")?));
        let keys = keys.into_iter().map(Value::from).collect();
        let products = among(view, "SELECT id, key FROM products WHERE key IN", keys, product).await?;
        Ok(Self { tenants: found, products: products.into_iter().collect() })
    }

    fn of_count(&self, count: &UsageCount) -> Option<Name> {
        self.tenants.get(&count.tenant_id)?;
        Some((count.tenant_id, *self.products.get(&count.product)?, count.span))
    }
}
