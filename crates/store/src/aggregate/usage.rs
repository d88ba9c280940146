//! What tenants used of products.
//!
//! Each gateway counts for itself, under an id that it has from its start to its end, and tells how far it is. Of each
//! the highest is kept: what is told twice, late or by many at once changes nothing. What was used is their sum.

use std::collections::HashMap;

use domain::{
    ProductId, ProjectId, TenantId,
    model::ProductKey,
    quota::{Span, UsageCount, UsagePart},
};
use uuid::Uuid;

use super::{product::Products, tenant::Tenants};
use crate::{SessionTx, StoreError, View, tx::Reader, value::values};

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
    /// not there have nothing.
    ///
    /// # Errors
    /// Of the database.
    pub async fn keep_usage(&self, counter: Uuid, told: &[UsageCount]) -> Result<Vec<Vec<UsagePart>>, StoreError> {
        let view = &self.work.view;
        let mut places = Places::default();
        let mut answers = Vec::with_capacity(told.len());
        for count in told {
            let Some((project, product)) = places.of(view, count).await? else {
                answers.push(Vec::new());
                continue;
            };
            let span = count.span.to_string();
            if count.used > 0 {
                let all = values![
                    project,
                    count.tenant_id,
                    product,
                    &span,
                    counter,
                    count.used,
                    count.span.ends_at(),
                    self.work.now
                ];
                let sql = "INSERT INTO product_usage (project_id, tenant_id, product_id, span, counter, used, ends_at,
                               updated_at)
                           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                           ON CONFLICT (tenant_id, product_id, span, counter) DO UPDATE
                               SET used = excluded.used, updated_at = excluded.updated_at
                               WHERE product_usage.used < excluded.used";
                view.execute(sql, all).await?;
            }
            let sql = "SELECT counter, used FROM product_usage
                       WHERE tenant_id = $1 AND product_id = $2 AND span = $3 ORDER BY counter";
            let part = |row: &crate::value::Row| Ok(UsagePart { counter: row.at("counter")?, used: row.at("used")? });
            answers.push(view.all(sql, values![count.tenant_id, product, &span], part).await?);
        }
        Ok(answers)
    }
}

/// Where the counts of a batch belong, each looked up once.
#[derive(Default)]
struct Places {
    projects: HashMap<TenantId, Option<ProjectId>>,
    products: HashMap<ProductKey, Option<ProductId>>,
}

impl Places {
    async fn of(&mut self, view: &View, count: &UsageCount) -> Result<Option<(ProjectId, ProductId)>, StoreError> {
        let project = match self.projects.get(&count.tenant_id) {
            Some(found) => *found,
            None => {
                let found = view.tenant(count.tenant_id).await?.map(|tenant| tenant.project_id);
                self.projects.insert(count.tenant_id, found);
                found
            }
        };
        let product = match self.products.get(&count.product) {
            Some(found) => *found,
            None => {
                let found = view.product_by_key(&count.product).await?.map(|product| product.id);
                self.products.insert(count.product.clone(), found);
                found
            }
        };
        Ok(project.zip(product))
    }
}
